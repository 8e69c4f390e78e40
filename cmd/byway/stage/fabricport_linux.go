package stage

import (
	"container/heap"
	"os"
	"sync"
	"time"
)

// port is one namespace's end.
type port struct {
	tun *os.File

	mu    sync.Mutex // guards the following
	queue schedule
	count uint64
	wake  chan struct{}
}

// parcel is a packet that waits for its time.
type parcel struct {
	at     time.Time
	count  uint64
	packet []byte
}

// schedule is a heap of parcels by time.
type schedule []parcel

func (s schedule) Len() int { return len(s) }
func (s schedule) Less(i, j int) bool {
	return s[i].at.Before(s[j].at) || s[i].at.Equal(s[j].at) && s[i].count < s[j].count
}
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)   { *s = append(*s, x.(parcel)) }
func (s *schedule) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

// put schedules a packet.
func (p *port) put(at time.Time, packet []byte) {
	p.mu.Lock()
	p.count++
	heap.Push(&p.queue, parcel{at, p.count, packet})
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// deliver writes packets at their time.
func (p *port) deliver(over <-chan struct{}) {
	for {
		next := time.Hour
		p.mu.Lock()
		for len(p.queue) > 0 {
			if next = time.Until(p.queue[0].at); next > 0 {
				break
			}
			packet := heap.Pop(&p.queue).(parcel).packet
			p.mu.Unlock()
			_, _ = p.tun.Write(packet) // a full queue loses it, as a network may
			p.mu.Lock()
			next = time.Hour
		}
		p.mu.Unlock()
		timer := time.NewTimer(next)
		select {
		case <-p.wake:
		case <-timer.C:
		case <-over:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}
