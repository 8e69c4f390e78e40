package peertest_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/peertest"
)

// TestWeather sends both ways through loss and reordering while ways come and go and both peers restart: everything arrives, once, in order.
func TestWeather(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { weather(t, seed) })
		})
	}
}

func weather(t *testing.T, seed uint64) {
	w := peertest.New(t, seed)
	alice, bob := w.Peer("alice"), w.Peer("bob")
	w.Weather(5*time.Millisecond, 30*time.Millisecond, 0.05)
	var toBob, toAlice []string
	var last [2]peer.Receipt
	for i := range 60 {
		toBob = append(toBob, fmt.Sprint("to bob ", i))
		last[0] = alice.MustSend("bob", toBob[i])
		toAlice = append(toAlice, fmt.Sprint("to alice ", i))
		last[1] = bob.MustSend("alice", toAlice[i])
		switch i % 12 {
		case 3:
			w.Split(alice, bob, true)
		case 6:
			w.Split(alice, bob, false)
		case 8:
			bob.Stop()
			if err := bob.Start(); err != nil {
				t.Fatal(err)
			}
		case 10:
			w.StopRendezvous()
			w.StartRendezvous()
		}
		time.Sleep(time.Duration(i%5) * time.Second)
	}
	w.Weather(5*time.Millisecond, 0, 0)
	w.Split(alice, bob, false)
	alice.MustReach(last[0].ID, peer.StateDelivered)
	bob.MustReach(last[1].ID, peer.StateDelivered)
	time.Sleep(5 * time.Minute)
	shown(t, "bob", bob, toBob...)
	shown(t, "alice", alice, toAlice...)
}
