package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

// fakePeer answers on a home's socket as a running peer of alice does. What is sent to bob is accepted and then comes to the state in fate.
type fakePeer struct {
	home       string
	rendezvous string // PeerID
	server     *http.Server
	done       chan struct{}

	mu     sync.Mutex
	fate   peer.State
	reason string        // of fate
	block  chan struct{} // pings wait for it, when set
	sent   []string
	shown  string // the last message that was marked
	states map[string]peer.Receipt
	events chan peer.Event
}

func startFake(t *testing.T, unshown ...peer.Event) *fakePeer {
	t.Helper()
	f := &fakePeer{
		home: t.TempDir(), fate: peer.StateDelivered, reason: "unreachable", done: make(chan struct{}),
		states: map[string]peer.Receipt{}, events: make(chan peer.Event, 1024),
	}
	for _, e := range unshown {
		f.events <- e
	}
	l, err := net.Listen("unix", filepath.Join(f.home, api.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", f.status)
	mux.HandleFunc("GET /v1/who", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, []peer.Contact{{Name: "bob", Online: true, Way: peer.WayLAN, Key: peer.KeyPinned, Devices: 1}})
	})
	mux.HandleFunc("GET /v1/route", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, []peer.RouteEntry{{Way: peer.WayLAN, State: "closed", Reason: "no-answer"}, {Way: peer.WayRelay, State: "open", InUse: true}})
	})
	mux.HandleFunc("POST /v1/send", f.send)
	mux.HandleFunc("GET /v1/receipts/{id}", f.receipt)
	mux.HandleFunc("POST /v1/shown", f.markShown)
	mux.HandleFunc("POST /v1/ping", f.ping)
	mux.HandleFunc("GET /v1/events", f.stream)
	f.server = &http.Server{Handler: mux}
	go func() {
		defer close(f.done)
		_ = f.server.Serve(l)
	}()
	t.Cleanup(f.stop)
	return f
}

func (f *fakePeer) stop() {
	_ = f.server.Close()
	<-f.done
}

func answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

func refuse(w http.ResponseWriter, status int, code peer.Code, hint string) {
	w.WriteHeader(status)
	answer(w, map[string]any{"code": code, "message": "refused\x1b[2J", "hint": hint})
}

func (f *fakePeer) status(w http.ResponseWriter, _ *http.Request) {
	answer(w, peer.Status{User: "alice", Device: "00112233aabbccdd", PeerID: "12D3", Version: "test", Rendezvous: peer.Rendezvous{PeerID: f.rendezvous}})
}

func (f *fakePeer) send(w http.ResponseWriter, r *http.Request) {
	var in struct{ To, Body, Way, Ref string }
	_ = json.NewDecoder(r.Body).Decode(&in)
	if in.To != "bob" {
		refuse(w, http.StatusNotFound, peer.CodeNoSuchUser, "byway who")
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = append(f.sent, in.Body)
	id := fmt.Sprintf("m%d", len(f.sent))
	ms := 2.1
	receipt := peer.Receipt{ID: id, To: in.To, N: uint64(len(f.sent)), State: peer.StateAccepted}
	f.events <- peer.Event{Type: peer.EventState, Re: in.Ref, ID: id, To: in.To, State: peer.StateAccepted}
	if f.fate != peer.StateAccepted {
		f.events <- peer.Event{Type: peer.EventState, Re: in.Ref, ID: id, To: in.To, State: f.fate, Way: peer.WayLAN, MS: &ms, Reason: f.reason}
	}
	last := receipt
	last.State, last.Way, last.MS, last.Reason = f.fate, peer.WayLAN, ms, f.reason
	f.states[id] = last
	answer(w, receipt)
}

func (f *fakePeer) receipt(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	answer(w, f.states[r.PathValue("id")])
}

func (f *fakePeer) markShown(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Upto struct {
			Order int64
			ID    string
		}
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shown = in.Upto.ID
	w.WriteHeader(http.StatusNoContent)
}

func (f *fakePeer) ping(w http.ResponseWriter, r *http.Request) {
	if f.block != nil {
		select {
		case <-f.block:
		case <-r.Context().Done():
		}
	}
	answer(w, peer.Pong{Way: peer.WayRelay, RTT: ptr(1.5)})
}

func (f *fakePeer) stream(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	_, _ = io.WriteString(w, ": hello\n\n")
	_ = control.Flush()
	for seq := 1000; ; seq++ {
		select {
		case e := <-f.events:
			e.V, e.Seq = 1, uint64(seq)
			data, _ := json.Marshal(e)
			_, _ = fmt.Fprintf(w, "id: %d\ndata: %s\n\n", seq, data)
			_ = control.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// run carries out one command line beside f.
func (f *fakePeer) run(ctx context.Context, input io.Reader, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	p := program{stdin: input, stdout: &out, stderr: &err, getenv: func(name string) string {
		return map[string]string{"BYWAY_HOME": f.home, "LANG": "C.UTF-8", "TERM": "xterm"}[name]
	}}
	code = p.Run(ctx, args)
	return code, out.String(), err.String()
}

// objects parses JSON lines and checks what all have in common.
func objects(t *testing.T, text string, numbered bool) []map[string]any {
	t.Helper()
	var list []map[string]any
	for line := range strings.Lines(text) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%q is not JSON: %v", line, err)
		}
		list = append(list, o)
		if o["v"] != 1.0 || (numbered && o["seq"] != float64(len(list))) {
			t.Errorf("got v %v, seq %v in line %d", o["v"], o["seq"], len(list))
		}
	}
	return list
}

func ptr[T any](v T) *T { return &v }
