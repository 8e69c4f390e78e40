package server

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/sqlite"
)

// One stream that asks or publishes without end is refused; the next stream of the same device is not.
func TestRequestRates(t *testing.T) {
	w := start(t, Config{}, false)
	alice := w.registered("alice", 0)
	untilRefused := func(burst int, request func() error) {
		t.Helper()
		for n := range 10 * burst {
			err := request()
			if err == nil {
				continue
			}
			refusal, _ := errors.AsType[*rendezvous.Error](err)
			if n < burst || rendezvous.CodeOf(err) != rendezvous.CodeRateLimited || refusal.RetryAfter <= 0 {
				t.Errorf("request %d: got %v", n, err)
			}
			return
		}
		t.Errorf("none of %d requests was refused", 10*burst)
	}
	untilRefused(publishBurst, func() error { return alice.conn.Publish(t.Context(), &rendezvous.Publish{}) })
	untilRefused(askBurst, func() error { _, err := alice.conn.Lookup(t.Context(), "nobody"); return err })
	for range 10 {
		_ = alice.conn.Close()
		alice.resume()
		for range 2 {
			if err := alice.conn.Publish(t.Context(), &rendezvous.Publish{}); err != nil {
				t.Fatalf("publish: %v", err)
			}
		}
		if _, err := alice.conn.List(t.Context(), "", 1); err != nil {
			t.Fatalf("list: %v", err)
		}
	}
}

func TestTakenIsBounded(t *testing.T) {
	w := start(t, Config{}, false)
	r := w.device("alice", 0).raw(t)
	r.send(hello())
	r.read()
	r.send(&rendezvous.Frame{Id: 7, Body: &rendezvous.Frame_Taken{Taken: &rendezvous.Taken{
		Deliveries: []*rendezvous.Run{{First: 1}, {First: 3, More: rendezvous.MaxNumbers - 1}},
	}}})
	if f := r.read(); f.GetId() != 7 || f.GetFailure().GetCode() != string(rendezvous.CodeBadRequest) {
		t.Errorf("got %v, want a refusal", f)
	}
}

func TestFullDiskIsTold(t *testing.T) {
	f := failureOf(fmt.Errorf("insert into /srv/secret: %w", sqlite.ErrDiskFull))
	if f.GetCode() != string(rendezvous.CodeInternal) || !strings.Contains(f.GetMessage(), "cannot store") || strings.Contains(f.GetMessage(), "secret") {
		t.Errorf("got %v", f)
	}
}

func TestReadyFileAlwaysNamesMetrics(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	start(t, Config{ReadyFile: ready}, false)
	text, err := os.ReadFile(ready)
	if err != nil || !bytes.Contains(text, []byte(`"metrics":""`)) {
		t.Errorf("got %s, %v", text, err)
	}
}
