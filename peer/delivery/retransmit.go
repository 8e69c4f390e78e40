package delivery

import "time"

// Fast retransmit, as in RFC 5681 section 3.2: what an acknowledgement shows to be lost goes again without waiting for its time. The sign is another one. There three
// acknowledgements of the same number make a loss likely. Here a receipt says by which way a later copy has come, and a way keeps the order: one is enough.

// maxQuick is how many attempts a copy may have had that goes again before its time. A device that says of some that it does not have them, truly or
// not, so makes us send those a few times and no more.
const maxQuick = 2

// witnesses returns for each way the turn of the latest copy that an acknowledgement says has come by it. Only what was sent once counts: of what was sent
// again nobody knows which attempt has arrived. It is nil where nothing is missing.
func (e *Engine) witnesses(a *account, r *remote, ack *Ack) map[Way]uint64 {
	if len(ack.Ranges) == 0 {
		return nil
	}
	newest := map[Way]uint64{}
	for _, receipt := range ack.Receipts {
		o := a.outbox.byN[receipt.N+receipt.Count-1]
		if o == nil || !ack.has(o.N) {
			continue
		}
		if c := o.copyFor(r); c != nil && c.phase == Sent && c.attempts == 1 && c.via == receipt.Way {
			newest[c.via] = max(newest[c.via], c.turn)
		}
	}
	return newest
}

// overtaken makes those copies below last wait for another attempt that are lost: a way keeps the order, so what was sent by it before something that has come
// by it will not come any more.
func (e *Engine) overtaken(r *remote, newest map[Way]uint64, last uint64) {
	if len(newest) == 0 {
		return
	}
	for o := r.lowest(); o != nil && o.N < last; o = o.next {
		if c := o.copyFor(r); c != nil && c.phase == Sent && c.attempts <= maxQuick && c.turn < newest[c.via] {
			c.phase = Waiting
			c.land()
			e.setDue(c, time.Time{})
			r.rewind()
		}
	}
}
