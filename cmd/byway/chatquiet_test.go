package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/peer"
)

// TestComings: who comes and goes within three seconds is not told; whoever stays or stays away is, once.
func TestComings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		c := newComings(func(line string) { told = append(told, line) })
		c.change("script", true)
		time.Sleep(settleTime - time.Millisecond)
		c.change("script", false)
		c.change("bob", true)
		time.Sleep(settleTime + time.Millisecond)
		c.change("bob", false)
		time.Sleep(time.Second)
		c.change("bob", true)
		time.Sleep(time.Minute)
		c.change("bob", false)
		time.Sleep(settleTime + time.Millisecond)
		c.change("carol", true)
		c.stop()
		time.Sleep(time.Minute)
		c.change("carol", false)
		time.Sleep(time.Minute)
		if diff := cmp.Diff([]string{"* bob is online", "* bob has left"}, told); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
	})
}

// TestMarksNameTheirMessage: a delivery mark says which message it is for only while another one is under way.
func TestMarksNameTheirMessage(t *testing.T) {
	u := new(underWayTexts)
	state := func(id string, s peer.State) string { return u.name(&peer.Event{Re: id, State: s}) }
	first := u.add("a single one")
	got := []string{state(first, peer.StateStored), state(first, peer.StateDelivered), state(first, peer.StateRead)}
	second, third, refused := u.add("two\nlines\x1b"), u.add(strings.Repeat("é", 100)), u.add("refused")
	u.drop(refused)
	got = append(got, state(third, peer.StateDelivered), state(second, peer.StateDelivered), state("unknown", peer.StateDelivered))
	want := []string{"", "", "", `: "` + strings.Repeat("é", 21) + `..."`, "", ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for range 3 * maxUnderWay {
		u.add("x")
	}
	if n := len(u.texts); n > maxUnderWay {
		t.Errorf("%d texts are remembered, want at most %d", n, maxUnderWay)
	}
	if got := state(u.add("two\nlines\x1b"), peer.StateFailed); strings.ContainsAny(got, "\n\x1b") || got == "" {
		t.Errorf("got %q, want one clean line", got)
	}
}
