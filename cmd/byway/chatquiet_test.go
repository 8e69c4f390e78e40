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

func TestHistoryOfGaps(t *testing.T) {
	for _, tt := range []struct {
		gap  peer.HistoryGap
		want string
	}{
		{peer.HistoryGap{From: "bob", Device: "0011", First: 5, Last: 6}, "* messages 5 to 6 from bob never came"},
		{peer.HistoryGap{From: "bob", Device: "0011", First: 5, Last: 5}, "* message 5 from bob never came"},
		{peer.HistoryGap{Device: "0011", First: 5, Last: 5}, "* message 5 from 0011 never came"},
	} {
		entry := peer.HistoryEntry{Gap: &tt.gap}
		if got := historyLine(&entry); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
		var out strings.Builder
		kind, object := historyObject(&entry, "message")
		if err := (&lines{w: &out}).entry(kind, object); err != nil {
			t.Fatal(err)
		}
		o := objects(t, out.String(), false)[0]
		if o["type"] != "gap" || o["first"] != 5.0 || o["last"] != float64(tt.gap.Last) || o["from"] != tt.gap.From || o["device"] != "0011" || len(o) != 6 {
			t.Errorf("got %v", o)
		}
	}
}
