package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/trace"
)

func TestEvidence(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(d time.Duration) *time.Time { return ptr(now.Add(-d)) }
	for _, tc := range []struct {
		e    peer.Evidence
		want string
	}{
		{peer.Evidence{}, "-"},
		{peer.Evidence{Heard: at(4 * time.Second), HeardWay: peer.WayLAN, HeardBy: peer.SignHeartbeat}, "answered 4 s ago, lan"},
		{peer.Evidence{Heard: at(4900 * time.Millisecond), HeardWay: peer.WayRelay, HeardBy: peer.SignReceipt}, "answered 4 s ago, relay"},
		{peer.Evidence{Heard: at(3 * time.Minute), HeardWay: peer.WayPunched, HeardBy: peer.SignPong}, "answered 3 min ago, punched"},
		{peer.Evidence{Heard: at(300 * time.Millisecond), HeardWay: peer.WayDirect, HeardBy: peer.SignMessage}, "heard just now, direct"},
		{peer.Evidence{Heard: at(-time.Hour), HeardWay: peer.WayLAN, HeardBy: "a sign of a later version"}, "heard just now, lan"},
		{peer.Evidence{Heard: at(0), HeardBy: peer.SignPresence}, "the rendezvous says so"},
	} {
		if got := evidence(&tc.e, now); got != tc.want {
			t.Errorf("%+v: got %q, want %q", tc.e, got, tc.want)
		}
	}
}

func TestRouteNotes(t *testing.T) {
	here := &trace.Network{UDP: "works", Ports: "kept", IPv4: true, Policy: "auto"}
	there := &trace.Network{UDP: "blocked", Ports: "changing", IPv6: true, Policy: "lan"}
	list := []peer.RouteEntry{
		{Device: "d1", Way: peer.WayLAN, Reason: "no-common-network", Sentence: "They share none.", Here: here, There: there},
		{Device: "d1", Way: peer.WayPunched, Reason: "symmetric-nat-there", Sentence: "The router\x1b[2J there.", Remedy: "Forward a port."},
		{Device: "d1", Way: peer.WayRelay, InUse: true},
		{Device: "d1", Way: peer.WayMailbox, Reason: "better-way-open", Sentence: "A better way is in use."},
		{Device: "d2", Way: peer.WayLAN, Reason: "no-common-network", Sentence: "They share none.", Here: here},
		{Device: "d2", Way: peer.WayRelay, InUse: true},
	}
	want := `here: UDP passes, the router keeps ports, IPv4; there: UDP is blocked, the router changes ports (symmetric NAT), IPv6, policy lan
no-common-network: They share none.
symmetric-nat-there: The router␛[2J there. Forward a port.
here: UDP passes, the router keeps ports, IPv4; there: nothing known
`
	if diff := cmp.Diff(want, routeNotes(list)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is drawn over something else leaves nothing of it, and fits the screen.
func TestOver(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		before     int
		screen     size
		want       string
		lines      int
	}{
		{"first", "a\nb  \n", 0, size{80, 24}, "a\x1b[K\nb\x1b[K\n\x1b[J", 2},
		{"again", "a\n", 2, size{80, 24}, "\x1b[2Aa\x1b[K\n\x1b[J", 1},
		{"too wide", "abcdé\n", 0, size{4, 24}, "abc\x1b[K\ndé\x1b[K\n\x1b[J", 2},
		{"too high", "a\nb\nc\n", 0, size{80, 3}, "a\x1b[K\nb\x1b[K\n\x1b[J", 2},
		{"an empty line", "\na\n", 0, size{80, 24}, "\x1b[K\na\x1b[K\n\x1b[J", 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, lines := over(tc.text, tc.before, tc.screen)
			if got != tc.want || lines != tc.lines {
				t.Errorf("got %q and %d lines, want %q and %d", got, lines, tc.want, tc.lines)
			}
		})
	}
}

// A round trip that is measured anew is no change, nor what is found out about the networks; a reason is.
func TestStanding(t *testing.T) {
	now := time.Now()
	e := peer.RouteEntry{Way: peer.WayLAN, State: "open", RTT: ptr(1.0), Tried: &now, Evidence: peer.Evidence{Heard: &now}}
	same, other := e, e
	same.RTT, same.Tried, same.Evidence, same.Error = ptr(2.0), ptr(now.Add(1)), peer.Evidence{}, "no answer"
	same.Here, same.There = &trace.Network{}, &trace.Network{}
	same.Sentence, same.Remedy, same.Addrs = "in other words", "another cure", []string{"/ip4/127.0.0.1/tcp/1"}
	other.Reason = "link-lost"
	if standingOf(&e) != standingOf(&same) || standingOf(&e) == standingOf(&other) {
		t.Errorf("got %v, %v and %v", standingOf(&e), standingOf(&same), standingOf(&other))
	}
	if line := changeLine(&peer.RouteEntry{Way: "lan\n", State: "open", Reason: "x\x1b[2J"}); strings.ContainsAny(line, "\n\x1b") {
		t.Errorf("got %q", line)
	}
}

// Watched on a terminal the table is drawn over itself; under TERM=dumb each way that changes is a line.
func TestWatchOnATerminal(t *testing.T) {
	for kind, redrawn := range map[string]bool{"xterm": true, "dumb": false} {
		t.Run(kind, func(t *testing.T) {
			s, f := newScreen(t), startFake(t)
			p := s.program(f.home)
			p.getenv = func(name string) string {
				return map[string]string{"BYWAY_HOME": f.home, "LANG": "C.UTF-8", "TERM": kind}[name]
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			code := make(chan int)
			go func() { code <- p.Run(ctx, []string{"route", "bob", "--watch"}) }()
			if redrawn {
				s.shows("WAY    STATE")
				s.shows("\x1b[4AWAY    STATE") // the head, two ways, and what the two sides have found out
			} else {
				s.shows("relay   open, in use")
			}
			cancel(leave{})
			if got := <-code; got != exitInterrupted {
				t.Errorf("exit code %d", got)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if text := s.text.String(); strings.Contains(text, "\x1b") != redrawn {
				t.Errorf("got %q", text)
			}
		})
	}
}
