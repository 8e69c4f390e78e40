package api

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/byway-chat/byway/peer"
)

// TestMistakes asks for what no request may ask. Each answer has the form of every error, and says what is allowed.
func TestMistakes(t *testing.T) {
	f := &fake{}
	_, c, _ := start(t, f)
	query := func(path string, values url.Values) error {
		_, err := get[any](t.Context(), c, path, values)
		return err
	}
	body := func(path string, in any) error {
		_, err := post[any](t.Context(), c, path, in, once)
		return err
	}
	for _, row := range []struct {
		err  error
		want string
	}{
		{query("/v1/history", url.Values{"limit": {"x"}}), `limit is a whole number from 0 to 10000, not "x"`},
		{query("/v1/history", url.Values{"limit": {"-1"}}), `limit is a whole number from 0 to 10000, not -1`},
		{query("/v1/history", url.Values{"limit": {"10001"}}), `limit is a whole number from 0 to 10000, not 10001`},
		{query("/v1/history", url.Values{"limit": {strings.Repeat("9", 100)}}), `limit is a whole number from 0 to 10000, not what was given`},
		{query("/v1/history", url.Values{"search": {strings.Repeat("x", 2000)}}), `search is a text of at most 1024 characters, not what was given`},
		{query("/v1/events", url.Values{"unshown": {"maybe"}}), `unshown is true or false, not "maybe"`},
		{query("/v1/receipts/1", url.Values{"wait": {"soon"}}), `wait is one of accepted, stored, delivered, read, not "soon"`},
		{query("/v1/route", nil), `user: required query parameter is missing`},
		{body("/v1/send", map[string]any{"to": 1, "body": "hi"}), `to: expected string`},
		{body("/v1/send", map[string]any{"to": "bob", "body": "hi", "wya": "lan"}), `wya: unexpected property`},
		{body("/v1/send", []int{1}), `body: expected object`},
	} {
		e, ok := errors.AsType[*peer.Error](row.err)
		if !ok || e.Code != peer.CodeUsage || e.Message != row.want || !strings.Contains(e.Hint, "/openapi.json") {
			t.Errorf("got %#v, want %q", row.err, row.want)
		}
	}
	if len(f.calls) > 0 {
		t.Errorf("the peer was asked for %v", f.calls)
	}
}
