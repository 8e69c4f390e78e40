package history

import (
	"encoding/binary"
	"testing"

	"github.com/byway-chat/byway/peer/delivery"
)

func TestRecentKnowsTheNewest(t *testing.T) {
	id := func(i int64) (id delivery.MessageID) {
		binary.BigEndian.PutUint64(id[:], uint64(i))
		return id
	}
	r := newRecent()
	for i := range int64(3 * recentMessages) {
		r.add(id(i), i)
		for _, back := range []int64{0, 1, recentMessages/2 - 1} {
			if ord, ok := r.find(id(i - back)); i >= back && (!ok || ord != i-back) {
				t.Fatalf("%d messages later one is at %d, %v, want %d", back, ord, ok, i-back)
			}
		}
		if held := len(r.young) + len(r.old); held > recentMessages {
			t.Fatalf("%d are held", held)
		}
	}
	if _, ok := r.find(id(0)); ok {
		t.Error("the oldest is still held")
	}
}
