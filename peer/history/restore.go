package history

import (
	"cmp"
	"context"
	"slices"

	"github.com/byway-chat/byway/peer/delivery"
)

// Snapshot reads the state from which a delivery engine begins. The accounts of devices are left empty: the caller knows from the
// contacts whose device is whose.
func (s *Store) Snapshot(ctx context.Context) (delivery.Snapshot, error) {
	if err := s.lock(ctx); err != nil {
		return delivery.Snapshot{}, err
	}
	defer s.mu.Unlock()
	held := map[delivery.Device][]delivery.Incoming{}
	for ref, m := range s.w.mem.held {
		held[ref.Device] = append(held[ref.Device], m)
	}
	var snap delivery.Snapshot
	for _, a := range s.w.mem.accounts {
		snap.Accounts = append(snap.Accounts, delivery.AccountState{Name: a.name, Next: a.next, Tip: a.tip})
	}
	for _, d := range s.w.mem.devices {
		slices.SortFunc(held[d.device], func(a, b delivery.Incoming) int { return cmp.Compare(a.N, b.N) })
		snap.Devices = append(snap.Devices, delivery.DeviceState{Device: d.device, Start: d.start, Next: d.next, Tip: d.tip, Held: held[d.device]})
	}
	for _, at := range s.w.mem.outbox {
		snap.Outbox = append(snap.Outbox, at.run.outgoing(at.i))
	}
	return snap, nil
}

// outgoing is the i-th message of a run as the outbox holds it.
func (r *run) outgoing(i int) delivery.OutboxState {
	m := &r.msgs[i]
	o := delivery.OutboxState{
		Message: delivery.Message{
			To: r.peer, N: m.n, ID: m.id, CopyOf: r.copyOf, Body: m.body, Sent: fromMicros(m.sent), Expires: fromMicros(m.expires), Policy: m.policy, Devices: r.devices, Prev: m.prev, Renumbered: m.renamed,
		},
		Progress: m.state.progress, Phases: map[delivery.Device]delivery.Phase{},
	}
	if m.state.void {
		o.Message.Void, o.Message.Body, o.Message.Expires = true, "", m.state.expires
	}
	for j, d := range r.devices {
		phase := delivery.Waiting
		if j < len(m.state.phases) && m.state.phases[j] != delivery.Sent {
			phase = m.state.phases[j]
		}
		o.Phases[d] = phase
	}
	return o
}
