package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/trace"
)

// start serves f in a new home and returns a client of it.
func start(t *testing.T, f *fake) (*Server, *Client, string) {
	t.Helper()
	home := t.TempDir()
	s, err := serve(f, home, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	c, err := Dial(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return s, c, home
}

func TestVerbs(t *testing.T) {
	ctx := t.Context()
	drop := func(_ any, err error) error { return err }
	for _, tc := range []struct {
		name string
		do   func(c *Client) error
		want any
	}{
		{"send", func(c *Client) error {
			r, err := c.Send(ctx, "bob", "hi \u202e\x1b[2J", peer.SendOptions{Way: "relay", Ref: "x:7"})
			if want := (peer.Receipt{ID: "m1", To: "bob", N: 1, State: peer.StateAccepted, Sent: time.Unix(1, 5).UTC()}); err == nil && r != want {
				t.Errorf("got receipt %+v, want %+v", r, want)
			}
			return err
		}, sent{"bob", "hi \u202e\x1b[2J", peer.SendOptions{Way: "relay", Ref: "x:7"}}},
		{"send within more than there is", func(c *Client) error {
			return drop(c.Send(ctx, "bob", "hi", peer.SendOptions{Within: 2 * time.Hour}))
		}, sent{"bob", "hi", peer.SendOptions{Within: time.Hour}}},
		{"send within hardly anything", func(c *Client) error {
			return drop(c.Send(ctx, "bob", "hi", peer.SendOptions{Within: time.Nanosecond}))
		}, sent{"bob", "hi", peer.SendOptions{Within: time.Millisecond}}},
		{"wait", func(c *Client) error { return drop(c.Wait(ctx, "a/b?c", peer.StateDelivered, time.Second)) }, "wait a/b?c"},
		{"wait unless", func(c *Client) error {
			r, err := c.WaitUnless(ctx, "m1", peer.StateStored, time.Second, peer.ReasonMailboxFull)
			if want := (peer.Receipt{ID: "m1", State: peer.StateAccepted, Reason: "mailbox-full"}); err == nil && r != want {
				t.Errorf("got receipt %+v, want %+v", r, want)
			}
			return err
		}, "wait m1 unless mailbox-full"},
		{"wait accepted", func(c *Client) error { return drop(c.Wait(ctx, "m1", peer.StateAccepted, 0)) }, "receipt m1"},
		{"receipt", func(c *Client) error { return drop(c.Receipt(ctx, "m1")) }, "receipt m1"},
		{"history", func(c *Client) error {
			list, err := c.History(ctx, peer.HistoryQuery{User: "bob", Search: "a&b", Limit: 7})
			if err == nil && (list == nil || len(list) != 0) {
				t.Errorf("got %#v, want an empty list", list)
			}
			return err
		}, peer.HistoryQuery{User: "bob", Search: "a&b", Limit: 7}},
		{"read", func(c *Client) error { return c.Read(ctx, "bob") }, "read bob"},
		{"shown", func(c *Client) error { return c.Shown(ctx, "a", "b") }, []string{"a", "b"}},
		{"shown up to", func(c *Client) error { return c.ShownUpto(ctx, 7, "a") }, "upto 7 a"},
		{"read receipts", func(c *Client) error { return c.SetReadReceipts(ctx, true) }, "receipts true"},
		{"who", func(c *Client) error { return drop(c.Who(ctx)) }, "who"},
		{"route", func(c *Client) error { return drop(c.Route(ctx, "bób")) }, "route bób"},
		{"probe", func(c *Client) error { return drop(c.Probe(ctx, "bob", "relay", 200)) }, "probe bob relay 200"},
		{"disturb", func(c *Client) error {
			return c.Disturb(ctx, "bob", peer.Disturbance{Way: "lan", Loss: 0.5, For: 2 * time.Second})
		}, "disturb bob {lan 0.5 2s}"},
		{"interrupt", func(c *Client) error { return c.Interrupt(ctx, 3*time.Second) }, "interrupt 3s"},
		{"ping", func(c *Client) error { return drop(c.Ping(ctx, "bob", "direct")) }, "ping bob direct"},
		{"connect", func(c *Client) error { return drop(c.Connect(ctx, "bob", "/ip4/192.168.1.2/tcp/1")) }, "connect bob /ip4/192.168.1.2/tcp/1"},
		{"find", func(c *Client) error { return drop(c.Find(ctx, "bob", true)) }, "find bob true"},
		{"verify", func(c *Client) error { return drop(c.Verify(ctx, "bob", true)) }, "verify bob"},
		{"ways", func(c *Client) error { return drop(c.Ways(ctx, "bob")) }, "ways bob"},
		{"way", func(c *Client) error { return c.SetWay(ctx, "bob", "relay") }, "way bob relay"},
		{"status", func(c *Client) error { return drop(c.Status(ctx)) }, "status"},
		{"checkup", func(c *Client) error { return drop(c.Checkup(ctx)) }, "checkup"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := &fake{}
			_, c, _ := start(t, f)
			if err := tc.do(c); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]any{tc.want}, f.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			f.mu.Lock()
			f.err = &peer.Error{Code: peer.CodeKeyChanged, Message: "the key has changed", Hint: "byway verify bob", Err: errors.New("cause")}
			f.mu.Unlock()
			err := tc.do(c)
			e, ok := errors.AsType[*peer.Error](err)
			if !ok || e.Code != peer.CodeKeyChanged || e.Hint != "byway verify bob" || err.Error() != "the key has changed: cause" {
				t.Errorf("got error %#v, want the peer's", err)
			}
		})
	}
}

func TestSendWaits(t *testing.T) {
	f := &fake{wait: func(ctx context.Context, id string, _ peer.State) (peer.Receipt, error) {
		<-ctx.Done()
		return peer.Receipt{ID: id, State: peer.StateStored}, ctx.Err()
	}}
	_, c, _ := start(t, f)
	var in sendInput
	in.Body.To, in.Body.Body, in.Body.Wait, in.Body.TimeoutMS = "bob", "hi", "delivered", 1
	r, err := post[peer.Receipt](t.Context(), c, "/v1/send", in.Body, once)
	if err != nil || r.State != peer.StateStored {
		t.Errorf("got %v, %v; want the latest receipt when the time is over", r.State, err)
	}
}

func TestRequestsThatBreakTheSchema(t *testing.T) {
	_, c, _ := start(t, &fake{})
	for _, tc := range []struct {
		name, body string
		want       peer.Code
	}{
		{"no JSON", "{", peer.CodeUsage},
		{"no recipient", `{"body":"x"}`, peer.CodeUsage},
		{"unknown way", `{"to":"bob","body":"x","way":"owl"}`, peer.CodeUsage},
		{"too large", `{"to":"bob","body":"` + strings.Repeat("x", maxRequest) + `"}`, peer.CodeTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := call[peer.Receipt](t.Context(), c, http.MethodPost, "/v1/send", []byte(tc.body), once)
			if got := peer.CodeOf(err); got != tc.want {
				t.Errorf("got %v (%v), want %v", got, err, tc.want)
			}
			if tc.want == peer.CodeTooLarge && !strings.Contains(err.Error(), strconv.Itoa(maxRequest)) {
				t.Errorf("%v does not say how much is allowed", err)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	body, ms := "line\nline\u2028", 3.1
	f := &fake{queue: []peer.Event{
		{V: 1, Seq: 41, Type: peer.EventMessage, ID: "m", From: "bob", Body: &body, Way: peer.WayLAN},
		{V: 1, Seq: 42, Type: peer.EventState, Re: "7", MS: &ms},
	}, final: &peer.Error{Code: peer.CodeFailed, Message: "too slow", Hint: "read faster"}}
	_, c, _ := start(t, f)
	sub, err := c.Subscribe(t.Context(), peer.EventOptions{After: 40, Unshown: true})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	var got []peer.Event
	var failure error
	for e, err := range sub.Events() {
		if err != nil {
			failure = err
			break
		}
		got = append(got, e)
	}
	if diff := cmp.Diff(f.queue, got, cmpopts.IgnoreUnexported(peer.Event{})); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if e, ok := errors.AsType[*peer.Error](failure); !ok || e.Hint != "read faster" {
		t.Errorf("got end %v, want the peer's reason", failure)
	}
	if want := (peer.EventOptions{After: 40, Unshown: true}); f.asked != want {
		t.Errorf("got options %+v, want %+v", f.asked, want)
	}
}

// Ids name the process, so that a place in another one's stream is not taken for one in this.
func TestEventIDs(t *testing.T) {
	f := &fake{queue: []peer.Event{{V: 1, Seq: 41, Type: peer.EventState}, {V: 1, Type: peer.EventMessage}}, final: errors.New("enough")}
	s, c, _ := start(t, f)
	id := s.process + "-41"
	for _, tc := range []struct {
		last, query string
		want        peer.EventOptions
	}{
		{"", "", peer.EventOptions{}},
		{"41", "", peer.EventOptions{After: 41}},
		{id, "", peer.EventOptions{After: 41}},
		{id, "7", peer.EventOptions{After: 41}},
		{"", id, peer.EventOptions{After: 41}},
		{"another-41", "", peer.EventOptions{Lost: true}},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://byway/v1/events?after="+tc.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tc.last != "" {
			req.Header.Set("Last-Event-ID", tc.last)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if text := string(body); err != nil || strings.Count(text, "id: ") != 1 || !strings.Contains(text, "\nid: "+id+"\ndata: {\"v\":1,\"seq\":41,") {
			t.Errorf("got %q, %v", text, err)
		}
		if f.asked != tc.want {
			t.Errorf("%q, %q: got options %+v, want %+v", tc.last, tc.query, f.asked, tc.want)
		}
	}
	for _, id := range []string{"x", "-1", "a-b", s.process + "-"} {
		if _, err := get[none](t.Context(), c, "/v1/events", url.Values{"after": {id}}); peer.CodeOf(err) != peer.CodeUsage {
			t.Errorf("%q: got %v, want a usage error", id, err)
		}
	}
}

// Each object of an answer says the version, and is described with it.
func TestAnswersSayTheirVersion(t *testing.T) {
	_, c, _ := start(t, &fake{})
	for path, list := range map[string]bool{
		"/v1/who": true, "/v1/route?user=bob": true, "/v1/way?user=bob": true, "/v1/address": true, "/v1/status": false, "/v1/doctor": false, "/v1/checkup": false,
		"/v1/verify?user=bob": false, "/v1/receipts/m1": false,
	} {
		var objects []map[string]any
		var err error
		if list {
			objects, err = get[[]map[string]any](t.Context(), c, path, nil)
		} else {
			var one map[string]any
			one, err = get[map[string]any](t.Context(), c, path, nil)
			objects = append(objects, one)
		}
		if err != nil || len(objects) == 0 || objects[0]["v"] != 1.0 || len(objects[0]) < 2 {
			t.Errorf("%s: got %v, %v", path, objects, err)
		}
	}
	doc, err := get[map[string]any](t.Context(), c, "/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	schemas := doc["components"].(map[string]any)["schemas"].(map[string]any)
	for _, name := range []string{"Contact", "Status", "Receipt", "Pong", "Verification", "RouteEntry", "Checkup", "Address"} {
		schema, _ := schemas[name].(map[string]any)
		properties, _ := schema["properties"].(map[string]any)
		if properties["v"] == nil {
			t.Errorf("%s is not described with its version: %v", name, schema)
		}
	}
}

// The story begins with the past where it is wanted, and a stream of what is held ends.
func TestTrace(t *testing.T) {
	f := &fake{story: trace.New()}
	f.story.Add(trace.Step{What: trace.Dial, User: "bob", Addrs: []string{"/ip4/192.0.2.1/tcp/1"}})
	f.story.Add(trace.Step{What: trace.Dial, User: "carol"})
	_, c, _ := start(t, f)
	for _, tc := range []struct {
		o    trace.Options
		want []trace.What
	}{
		{trace.Options{Held: true}, []trace.What{trace.Dial, trace.Dial}},
		{trace.Options{Held: true, User: "bob"}, []trace.What{trace.Dial}},
		{trace.Options{Held: true, After: 1}, []trace.What{trace.Dial}},
		{trace.Options{New: true}, []trace.What{trace.LinkUp}},
	} {
		sub, err := c.Trace(t.Context(), tc.o)
		if err != nil {
			t.Fatal(err)
		}
		if tc.o.New {
			f.story.Add(trace.Step{What: trace.LinkUp, User: "bob"})
			f.story.Close()
		}
		var got []trace.What
		for e, err := range sub.Events() {
			if err != nil {
				if !errors.Is(err, ErrGone) {
					t.Error(err)
				}
				break
			}
			if e.V != 1 || e.Seq == 0 || e.Type != trace.Type || e.Time.IsZero() {
				t.Errorf("got %+v", e)
			}
			got = append(got, e.What)
		}
		sub.Close()
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tc.o, diff)
		}
	}
	f.err = &peer.Error{Code: peer.CodeNameNotAllowed, Message: "no name"}
	if _, err := c.Trace(t.Context(), trace.Options{User: "a b"}); peer.CodeOf(err) != peer.CodeNameNotAllowed {
		t.Errorf("got %v, want the peer's", err)
	}
}

func TestCloseEndsStreamsAndFinishesRequests(t *testing.T) {
	waiting, release := make(chan struct{}), make(chan struct{})
	f := &fake{wait: func(_ context.Context, id string, until peer.State) (peer.Receipt, error) {
		close(waiting)
		<-release
		return peer.Receipt{ID: id, State: until}, nil
	}}
	s, c, home := start(t, f)
	sub, err := c.Subscribe(t.Context(), peer.EventOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	answered := make(chan error, 1)
	go func() {
		_, err := c.Wait(t.Context(), "m1", peer.StateStored, time.Minute)
		answered <- err
	}()
	<-waiting
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	for _, err := range sub.Events() {
		if !errors.Is(err, ErrGone) {
			t.Errorf("got end of stream %v, want ErrGone", err)
		}
	}
	if _, err := Dial(t.Context(), home); !errors.Is(err, ErrGone) {
		t.Errorf("got %v for a new connection, want ErrGone", err)
	}
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("a running request: %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrGone) {
		t.Errorf("got %v after Close, want ErrGone", err)
	}
}

func TestStop(t *testing.T) {
	s, c, _ := start(t, &fake{})
	for range 2 {
		if err := c.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	<-s.StopRequested()
}

func TestSocketFile(t *testing.T) {
	t.Run("only the owner", func(t *testing.T) {
		_, _, home := start(t, &fake{})
		info, err := os.Stat(filepath.Join(home, SocketName))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("got mode %o, want 600", got)
		}
	})
	t.Run("left by a dead process", func(t *testing.T) {
		home := t.TempDir()
		l, err := listen(home)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Dial(t.Context(), home); !errors.Is(err, ErrGone) {
			t.Errorf("got %v, want ErrGone", err)
		}
		s, err := serve(&fake{}, home, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("somebody's file", func(t *testing.T) {
		home := t.TempDir()
		path := filepath.Join(home, SocketName)
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := serve(&fake{}, home, nil); err == nil {
			t.Error("serving over a file that is not a socket")
		}
		if got, _ := os.ReadFile(path); string(got) != "mine" {
			t.Errorf("the file holds %q", got)
		}
	})
	t.Run("a long path", func(t *testing.T) {
		home := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := Dial(t.Context(), filepath.Join(home, "none")); !errors.Is(err, ErrGone) {
			t.Errorf("got %v for a home that does not exist, want ErrGone", err)
		}
		s, err := serve(&fake{}, home, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		c, err := Dial(t.Context(), home)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Status(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestDescription(t *testing.T) {
	_, c, _ := start(t, &fake{})
	doc, err := get[map[string]any](t.Context(), c, "/openapi.json", nil)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := doc["openapi"].(string); !strings.HasPrefix(v, "3.1") {
		t.Errorf("got openapi %q, want 3.1", v)
	}
	paths, _ := doc["paths"].(map[string]any)
	for _, verb := range []string{"send", "receipts/{id}", "who", "route", "ping", "verify", "history", "read", "way", "status", "shown", "settings/receipts", "stop", "events", "trace", "checkup", "doctor", "address", "connect", "find"} {
		if paths["/v1/"+verb] == nil {
			t.Errorf("no description of /v1/%s", verb)
		}
	}
}

func FuzzRefusal(f *testing.F) {
	f.Add(404, []byte(`{"code":"no-such-user","message":"m"}`))
	f.Add(422, []byte(`{"detail":"d","errors":[{"message":"m","location":"l"}]}`))
	f.Add(500, []byte(`[`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if _, ok := errors.AsType[*peer.Error](refusal(status, body)); !ok {
			t.Error("a refusal that is no *peer.Error")
		}
	})
}

func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"v":1,"seq":2,"type":"message","body":"x"}`), false)
	f.Add([]byte(`{"code":"failed"}`), true)
	f.Fuzz(func(t *testing.T, data []byte, failure bool) {
		e, err := object[peer.Event](data, failure)
		if err != nil {
			return
		}
		if _, err := json.Marshal(e); err != nil {
			t.Errorf("an event that cannot be written again: %v", err)
		}
	})
}
