package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/peer/delivery"
)

// Bounds of what is remembered.
const (
	openSessions  = 16                  // receiving chains kept for one device
	seenFor       = 30 * 24 * time.Hour // how long a closed session's id is remembered; an Init is refused by its time long before
	maxBlocked    = 1000                // envelopes kept for one device that waits to be accepted
	usedEvery     = time.Minute         // how exactly the latest use of a session is kept: the index on it need not change with each batch
	maxUsed       = 4096                // sessions whose latest use is remembered for that
	sessionMaxAge = 15 * 24 * time.Hour // an idle chain is closed then: what waits in a mailbox, for 14 days at most, must still open
)

// session writes the newest state of a session.
func (w *writer) session(x *Session) {
	id := slices.Clone(x.ID[:])
	var sealed []byte
	if x.State != nil {
		sealed = w.s.box.seal(fmt.Sprintf("session %x", id), x.State)
	}
	last, known := w.mem.used[x.ID]
	if known && x.Used.Sub(last) < usedEvery {
		w.do("UPDATE sessions SET sealed = ? WHERE sid = ?", sealed, id)
		return
	}
	if len(w.mem.used) > maxUsed {
		clear(w.mem.used)
	}
	w.mem.used[x.ID] = x.Used
	device := slices.Clone(x.Device[:])
	w.do(`INSERT INTO sessions (sid, device, used, sealed) VALUES (?, ?, ?, ?)
		ON CONFLICT (sid) DO UPDATE SET used = excluded.used, sealed = excluded.sealed`, id, device, x.Used.UnixMilli(), sealed)
	if !known {
		w.do(`UPDATE sessions SET sealed = NULL WHERE device = ? AND sealed IS NOT NULL AND sid NOT IN
			(SELECT sid FROM sessions WHERE device = ? AND sealed IS NOT NULL ORDER BY used DESC LIMIT ?)`, device, device, openSessions)
	}
}

// Session returns a stored session. known is false for an id that was never seen; the state of a closed one is nil.
func (s *Store) Session(ctx context.Context, id session.ID) (x Session, known bool, err error) {
	var device, sealed []byte
	var used int64
	err = s.view(ctx, func(q querier) error {
		return q.QueryRowContext(ctx, "SELECT device, used, sealed FROM sessions WHERE sid = ?", id[:]).Scan(&device, &used, &sealed)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return x, false, nil
	}
	if err != nil {
		return x, false, classify("read session", err)
	}
	x = Session{ID: id, Used: time.UnixMilli(used)}
	copy(x.Device[:], device)
	if sealed != nil {
		if x.State, err = s.box.open(fmt.Sprintf("session %x", id[:]), sealed); err != nil {
			return x, true, fmt.Errorf("read session: %w", err)
		}
	}
	return x, true, nil
}

// Sweep closes chains that have been idle for fifteen days and forgets closed sessions after a month.
func (s *Store) Sweep(ctx context.Context, now time.Time) error {
	return classify("sweep sessions", s.alter(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE sessions SET sealed = NULL WHERE used < ?", now.Add(-sessionMaxAge).UnixMilli())
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM sessions WHERE used < ?", now.Add(-seenFor).UnixMilli())
		}
		return err
	}))
}

func blockedLabel(d delivery.Device) string { return fmt.Sprintf("blocked %x", d[:]) }

// block keeps an envelope, or counts it where too many wait already: its sender holds it too, and a stranger must not be able to fail a batch.
func (w *writer) block(x *Blocked) {
	if x.ID <= w.mem.lastBlocked {
		return // a replay: it was kept before, and may have been dealt with since
	}
	w.mem.lastBlocked = x.ID
	if w.mem.waiting[x.Device] >= maxBlocked {
		w.refused++
		return
	}
	w.mem.blocked[x.ID] = x.Device
	w.mem.waiting[x.Device]++
	w.do("INSERT INTO blocked (id, device, tag, way, envelope) VALUES (?, ?, ?, ?, ?)",
		x.ID, slices.Clone(x.Device[:]), w.s.tag(string(x.Account)), string(x.Way), w.s.box.seal(blockedLabel(x.Device), x.Envelope))
}

// number gives the envelopes of a batch their ids, before they are written anywhere.
func (w *writer) number(b *Batch) {
	for i := range b.Blocked {
		b.Blocked[i].ID = w.mem.lastBlocked + int64(i) + 1
	}
}

// unblock forgets an envelope that was dealt with.
func (w *writer) unblock(id int64) {
	if d, ok := w.mem.blocked[id]; ok {
		delete(w.mem.blocked, id)
		if w.mem.waiting[d]--; w.mem.waiting[d] == 0 {
			delete(w.mem.waiting, d)
		}
	}
	w.do("DELETE FROM blocked WHERE id = ?", id)
}

// BlockedOf returns the envelopes that wait for a device to be accepted, oldest first.
func (s *Store) BlockedOf(ctx context.Context, name delivery.Account, d delivery.Device) ([]Blocked, error) {
	var out []Blocked
	err := s.view(ctx, func(q querier) error {
		out = nil
		return each(ctx, q, "SELECT id, way, envelope FROM blocked WHERE device = ? ORDER BY id", func(rows *sql.Rows) (err error) {
			x := Blocked{Account: name, Device: d}
			var sealed []byte
			if err := rows.Scan(&x.ID, &x.Way, &sealed); err != nil {
				return err
			}
			x.Envelope, err = s.box.open(blockedLabel(d), sealed)
			out = append(out, x)
			return err
		}, d[:])
	})
	return out, classify("read blocked envelopes", err)
}
