package history

import (
	"context"
	"database/sql"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
)

// Snapshot reads the state from which a delivery engine begins.
func (s *Store) Snapshot(ctx context.Context) (delivery.Snapshot, error) {
	var snap delivery.Snapshot
	names := map[string]delivery.Account{} // by tag
	outbox := map[outboxKey]int{}          // where in snap.Outbox
	steps := []struct {
		query string
		row   func(*sql.Rows) error
	}{
		{"SELECT tag, name, next FROM accounts", func(r *sql.Rows) error { return s.accountRow(r, &snap, names) }},
		{"SELECT device, start, next FROM devices", func(r *sql.Rows) error { return deviceRow(r, &snap) }},
		{"SELECT device, n, sealed FROM held ORDER BY device, n", func(r *sql.Rows) error { return s.heldRow(r, &snap) }},
		{`SELECT o.tag, o.n, o.sealed, COALESCE(m.stage, 0), COALESCE(m.way, ''), COALESCE(m.took, 0),
			COALESCE(m.reason, '') FROM outbox o
			LEFT JOIN messages m ON m.tag = o.tag AND m.n = o.n AND m.own = 1 ORDER BY o.tag, o.n`, func(r *sql.Rows) error { return s.outboxRow(r, &snap, outbox) }},
		{"SELECT tag, n, device, phase FROM copies", func(r *sql.Rows) error { return copyRow(r, &snap, names, outbox) }},
	}
	for _, step := range steps {
		if err := s.each(ctx, step.query, step.row); err != nil {
			return delivery.Snapshot{}, classify("restore outbox", err)
		}
	}
	return snap, nil
}

func (s *Store) each(ctx context.Context, query string, row func(*sql.Rows) error) error {
	rows, err := s.write.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *Store) accountRow(r *sql.Rows, snap *delivery.Snapshot, names map[string]delivery.Account) error {
	var tag, sealed []byte
	var a delivery.AccountState
	if err := r.Scan(&tag, &sealed, &a.Next); err != nil {
		return err
	}
	name, err := s.box.open(accountLabel(tag), sealed)
	if err != nil {
		return err
	}
	a.Name = delivery.Account(name)
	names[string(tag)] = a.Name
	snap.Accounts = append(snap.Accounts, a)
	return nil
}

// deviceRow leaves the account empty: the caller knows from the contacts whose device it is.
func deviceRow(r *sql.Rows, snap *delivery.Snapshot) error {
	var device []byte
	var d delivery.DeviceState
	if err := r.Scan(&device, &d.Start, &d.Next); err != nil {
		return err
	}
	copy(d.Device[:], device)
	snap.Devices = append(snap.Devices, d)
	return nil
}

func (s *Store) heldRow(r *sql.Rows, snap *delivery.Snapshot) error {
	var device, sealed []byte
	var n uint64
	if err := r.Scan(&device, &n, &sealed); err != nil {
		return err
	}
	var d delivery.Device
	copy(d[:], device)
	var row stored
	if err := s.box.openJSON(heldLabel(d, n), sealed, &row); err != nil {
		return err
	}
	for i := range snap.Devices {
		if snap.Devices[i].Device == d {
			snap.Devices[i].Held = append(snap.Devices[i].Held, row.incoming(d, n))
		}
	}
	return nil
}

// outboxKey names a message of the outbox.
type outboxKey struct {
	to delivery.Account
	n  uint64
}

func (s *Store) outboxRow(r *sql.Rows, snap *delivery.Snapshot, index map[outboxKey]int) error {
	var tag, sealed []byte
	var o delivery.OutboxState
	var took int64
	if err := r.Scan(&tag, &o.Message.N, &sealed, &o.Progress.Stage, &o.Progress.Way, &took, &o.Progress.Reason); err != nil {
		return err
	}
	o.Progress.Took = time.Duration(took) * time.Microsecond
	var row stored
	if err := s.box.openJSON(outboxLabel(tag, o.Message.N), sealed, &row); err != nil {
		return err
	}
	o.Message.To, o.Message.CopyOf, o.Message.Body = delivery.Account(row.Peer), delivery.Account(row.CopyOf), row.Body
	o.Message.Sent, o.Message.Expires = fromMicros(row.Sent), fromMicros(row.Expires)
	o.Message.Policy, o.Message.Devices, o.Message.Void = row.Policy, row.Devices, row.Void
	copy(o.Message.ID[:], row.ID)
	o.Phases = map[delivery.Device]delivery.Phase{}
	index[outboxKey{o.Message.To, o.Message.N}] = len(snap.Outbox)
	snap.Outbox = append(snap.Outbox, o)
	return nil
}

func copyRow(r *sql.Rows, snap *delivery.Snapshot, names map[string]delivery.Account, index map[outboxKey]int) error {
	var tag, device []byte
	var n uint64
	var phase delivery.Phase
	if err := r.Scan(&tag, &n, &device, &phase); err != nil {
		return err
	}
	var d delivery.Device
	copy(d[:], device)
	if phase == delivery.Sent {
		phase = delivery.Waiting
	}
	if i, ok := index[outboxKey{names[string(tag)], n}]; ok {
		snap.Outbox[i].Phases[d] = phase
	}
	return nil
}
