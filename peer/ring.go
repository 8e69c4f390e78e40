package peer

import "sort"

// ringSize is how many events of one kind a subscriber may be behind before it loses some.
const ringSize = 4096

// ring has the newest events of one kind, by their place in the order in which they were put in, which begins with 0.
type ring struct {
	events [ringSize]Event
	count  uint64 // how many were ever put in
	gone   uint64 // seq of the newest that it has no more; 0: it has all
}

func (r *ring) put(e Event) {
	slot := r.at(r.count)
	if r.count >= ringSize {
		r.gone = slot.Seq
	}
	*slot = e
	r.count++
}

// at returns the event in a place from oldest to count - 1.
func (r *ring) at(place uint64) *Event { return &r.events[place%ringSize] }

// oldest is the place of the oldest event that is still there.
func (r *ring) oldest() uint64 { return r.count - min(r.count, ringSize) }

// after returns the place of the first event above a seq, of those that are still there.
func (r *ring) after(seq uint64) uint64 {
	oldest := r.oldest()
	return oldest + uint64(sort.Search(int(r.count-oldest), func(i int) bool { return r.at(oldest+uint64(i)).Seq > seq }))
}
