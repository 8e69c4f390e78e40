package sqlite_test

import (
	"context"
	"errors"
	"testing"

	"github.com/byway-chat/byway/rendezvous/directory"
)

func TestReleaseKeepsEverything(t *testing.T) {
	t.Parallel()
	db := open(t, t.TempDir())
	defer db.Close()
	id := directory.InviteID{1}
	if err := db.AddInvite(t.Context(), directory.Invite{ID: id, Uses: 3, Left: 3}); err != nil {
		t.Fatal(err)
	}
	if err := db.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := db.Invite(t.Context(), id); err != nil || got.Left != 3 {
		t.Errorf("got %v, %v", got, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Release(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}
