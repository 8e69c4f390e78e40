package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/byway-chat/byway/rendezvous"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// moment is the time of everything in these tests.
var moment = time.Date(2026, 11, 23, 1, 2, 3, 4, time.UTC)

// house is an Operator over fixed answers.
type house struct {
	users  int
	health string
	told   []string
}

func (h *house) Users(_ context.Context, after string, limit int) ([]User, error) {
	var list []User
	for i := range h.users {
		if name := fmt.Sprintf("user%04d", i); name > after && len(list) < limit {
			list = append(list, User{V: 1, Name: name, Created: moment, Devices: []Device{}})
		}
	}
	return list, nil
}

func (h *house) Active() []Active {
	return []Active{{V: 1, Name: "alice", Device: "0011", Since: moment, Transport: "tcp", Agent: "byway"}}
}

func (h *house) Status(context.Context) Status {
	return Status{
		V: 1, Version: "v1", Users: h.users, Online: 1, UptimeMS: 1500, Registration: "open",
		Relayed: Traffic{3, 4}, Refused: map[string]uint64{"mailbox-full": 2}, Health: h.health,
	}
}

func (h *house) Address() Address {
	return Address{V: 1, PeerID: "12D3", Addrs: []string{"/ip4/127.0.0.1/tcp/1/p2p/12D3"}, Link: "byway://127.0.0.1:1/12D3"}
}

func (h *house) Watch(ctx context.Context, withBytes bool) <-chan Envelope {
	out := make(chan Envelope)
	go func() {
		defer close(out)
		for i := range 3 {
			e := Envelope{V: 1, Time: moment, From: "alice", To: "bob", Size: i, Delivery: "live", Kind: "msg"}
			if withBytes {
				e.Bytes = []byte{0, byte(i)}
			}
			select {
			case out <- e:
			case <-ctx.Done():
				return
			}
		}
		<-ctx.Done()
	}()
	return out
}

func (h *house) Kick(_ context.Context, name string) (int, error) {
	if name == "nobody" {
		return 0, rendezvous.Errorf(rendezvous.CodeNoSuchUser, "there is no user nobody")
	}
	h.told = append(h.told, "kick "+name)
	return 2, nil
}

func (h *house) Ban(_ context.Context, name, reason string) (int, error) {
	h.told = append(h.told, "ban "+name+" "+reason)
	return 1, nil
}

func (h *house) Unban(_ context.Context, name string) error {
	h.told = append(h.told, "unban "+name)
	return errors.New("the database is locked")
}

func (h *house) Invite(_ context.Context, uses int, lifetime time.Duration) (Invite, error) {
	end := moment.Add(lifetime)
	return Invite{V: 1, Link: "byway://x", Token: "t", Uses: uses, Expires: &end}, nil
}

// serve answers for op on a socket and returns a client of it.
func serve(t *testing.T, op Operator) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server := &http.Server{Handler: Handler(op, "v1"), BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	client := NewClient(path)
	t.Cleanup(func() {
		client.Close()
		cancel()
		_ = server.Close()
		<-done
	})
	return client
}

func TestRoundTrip(t *testing.T) {
	h := &house{users: 2*MaxUsersPage + 1, health: "ok"}
	c := serve(t, h)
	ctx := t.Context()

	var names []string
	if err := c.Users(ctx, func(u User) error { names = append(names, u.Name); return nil }); err != nil {
		t.Fatalf("users: %v", err)
	}
	if len(names) != h.users || names[h.users-1] != "user1000" {
		t.Errorf("got %d users", len(names))
	}
	if got, err := c.Active(ctx); err != nil || cmp.Diff(got, h.Active()) != "" {
		t.Errorf("active: got %+v, %v", got, err)
	}
	if got, err := c.Status(ctx); err != nil || cmp.Diff(got, h.Status(ctx)) != "" {
		t.Errorf("status: got %+v, %v", got, err)
	}
	if got, err := c.Address(ctx); err != nil || cmp.Diff(got, h.Address()) != "" {
		t.Errorf("address: got %+v, %v", got, err)
	}
	want, _ := h.Invite(ctx, 3, time.Hour)
	if got, err := c.Invite(ctx, 3, time.Hour); err != nil || cmp.Diff(got, want) != "" {
		t.Errorf("invite: got %+v, %v", got, err)
	}
	if n, err := c.Kick(ctx, "bob"); n != 2 || err != nil {
		t.Errorf("kick: got %d, %v", n, err)
	}
	if n, err := c.Ban(ctx, "bob", "spam"); n != 1 || err != nil {
		t.Errorf("ban: got %d, %v", n, err)
	}
	if _, err := c.Kick(ctx, "nobody"); rendezvous.CodeOf(err) != rendezvous.CodeNoSuchUser || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("kick of nobody: got %v", err)
	}
	if err := c.Unban(ctx, "bob"); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("unban: got %v", err)
	}
	if _, err := c.Invite(ctx, 0, 0); rendezvous.CodeOf(err) != rendezvous.CodeBadRequest {
		t.Errorf("an invitation for nobody: got %v", err)
	}
	if diff := cmp.Diff(h.told, []string{"kick bob", "ban bob spam", "unban bob"}); diff != "" {
		t.Error(diff)
	}
}

func TestWatch(t *testing.T) {
	for _, withBytes := range []bool{false, true} {
		c := serve(t, &house{})
		begun, n, enough := 0, 0, errors.New("enough")
		err := c.Watch(t.Context(), withBytes, func() { begun++ }, func(e Envelope) error {
			if begun != 1 || e.Size != n || (len(e.Bytes) == 2) != withBytes {
				t.Errorf("got %+v as envelope %d, begun %d times", e, n, begun)
			}
			if n++; n == 3 {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Errorf("got %v", err)
		}
	}
}

func TestNotServing(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "admin.sock"), filepath.Join(t.TempDir(), "no", "such", "admin.sock")} {
		if _, err := NewClient(path).Status(t.Context()); !errors.Is(err, ErrNotServing) {
			t.Errorf("got %v, want %v", err, ErrNotServing)
		}
		err := NewClient(path).Watch(t.Context(), false, nil, nil)
		if !errors.Is(err, ErrNotServing) {
			t.Errorf("watch: got %v, want %v", err, ErrNotServing)
		}
	}
}

func TestOpenAPI(t *testing.T) {
	recorder := httptest.NewRecorder()
	Handler(&house{}, "v1").ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/openapi.json", nil))
	var doc struct {
		OpenAPI string         `json:"openapi"`
		Paths   map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(recorder.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"users", "active", "status", "address", "watch", "kick", "ban", "unban", "invite"} {
		if doc.Paths["/v1/"+path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("got OpenAPI %s", doc.OpenAPI)
	}
}

func TestMetrics(t *testing.T) {
	h := &house{users: 5, health: "ok"}
	server := httptest.NewServer(MetricsHandler(h, prometheus.NewRegistry()))
	defer server.Close()
	get := func(path string, status int) string {
		t.Helper()
		resp, err := server.Client().Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status {
			t.Errorf("%s: got %d, %v, want %d", path, resp.StatusCode, err, status)
		}
		return string(text)
	}
	text := get("/metrics", http.StatusOK)
	for _, line := range []string{
		"byway_rendezvous_users 5", "byway_rendezvous_healthy 1", `byway_rendezvous_envelopes_total{outcome="relayed"} 3`,
		`byway_rendezvous_envelopes_refused_total{code="mailbox-full"} 2`, "go_goroutines",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("the metrics miss %q", line)
		}
	}
	get("/healthz", http.StatusOK)
	h.health = "the database does not answer"
	get("/healthz", http.StatusServiceUnavailable)
}
