package api

import (
	"errors"
	"net/http"
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
	raw := func(text string) error {
		_, err := call[any](t.Context(), c, http.MethodPost, "/v1/send", []byte(text), once)
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
		{query("/v1/route", nil), `user is missing: it is a text`},
		{body("/v1/send", map[string]any{"to": 1, "body": "hi"}), `to is a text, not 1`},
		{body("/v1/send", map[string]any{"to": nil, "body": "hi"}), `to is a text, not null`},
		{body("/v1/send", map[string]any{"body": "hi"}), `to is missing: it is a text`},
		{body("/v1/send", map[string]any{"to": "bob", "body": "hi", "way": "pigeon"}), `way is one of auto, lan, direct, relay, not "pigeon"`},
		{body("/v1/send", map[string]any{"to": "bob", "body": "hi", "timeout_ms": -1}), `timeout_ms is a whole number from 0 to 3600000, not -1`},
		{body("/v1/send", map[string]any{"to": "bob", "body": "hi", "timeout_ms": "soon"}), `timeout_ms is a whole number from 0 to 3600000, not "soon"`},
		{body("/v1/send", map[string]any{"to": "bob", "body": "hi", "ref": strings.Repeat("x", 257)}), `ref is a text of at most 256 characters, not what was given`},
		{body("/v1/send", map[string]any{"to": "bob", "body": "hi", "wya": "lan"}), `"wya" is not known: there is body, ref, timeout_ms, to, wait, way, within_ms`},
		{body("/v1/send", map[string]any{"to": "bob", "body": "hi", strings.Repeat("x", 2000): 1}), `a field is not known: there is body, ref, timeout_ms, to, wait, way, within_ms`},
		{body("/v1/send", []int{1}), `the body is an object with body, ref, timeout_ms, to, wait, way, within_ms, not [1]`},
		{raw("{"), `the body cannot be read: unexpected end of JSON input`},
		{raw(""), `request body is required`},
		{body("/v1/shown", map[string]any{"ids": "m1"}), `ids is a list of at most 4096, not "m1"`},
		{body("/v1/shown", map[string]any{"ids": make([]string, 4097)}), `ids is a list of at most 4096, not what was given`},
		{body("/v1/shown", map[string]any{"ids": []any{"m1", 2}}), `ids[1] is a text, not 2`},
		{body("/v1/shown", map[string]any{"upto": 7}), `upto is an object with id, order, not 7`},
		{body("/v1/shown", map[string]any{"upto": map[string]any{"id": "m1"}}), `upto.order is missing: it is a whole number, 1 or more`},
		{body("/v1/shown", map[string]any{"upto": map[string]any{"id": "m1", "order": 0}}), `upto.order is a whole number, 1 or more, not 0`},
		{body("/v1/shown", map[string]any{"upto": map[string]any{"id": "m1", "order": 1, "x.y": 1}}), `"x.y" is not known: there is id, order`},
		{body("/v1/shown", map[string]any{"upto.order": 1}), `"upto.order" is not known`},
		{body("/v1/shown", map[string]any{"ids[0]": 1}), `"ids[0]" is not known`},
		{body("/v1/shown", map[string]any{"": 1}), `"" is not known`},
		{body("/v1/lab/disturb", map[string]any{"loss": 2, "ms": 1, "user": "bob"}), `loss is a number from 0 to 1, not 2`},
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
