package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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

func (w *writer) session(x *Session) error {
	var sealed []byte
	if x.State != nil {
		sealed = w.s.box.seal(fmt.Sprintf("session %x", x.ID[:]), x.State)
	}
	if last, ok := w.mem.used[x.ID]; ok && x.Used.Sub(last) < usedEvery {
		_, err := w.exec("UPDATE sessions SET sealed = ? WHERE sid = ?", sealed, x.ID[:])
		return err
	}
	if len(w.mem.used) > maxUsed {
		clear(w.mem.used)
	}
	w.mem.used[x.ID] = x.Used
	used := x.Used.UnixMilli()
	result, err := w.exec("UPDATE sessions SET used = ?, sealed = ? WHERE sid = ?", used, sealed, x.ID[:])
	if err != nil {
		return err
	}
	if changed, err := result.RowsAffected(); err != nil || changed > 0 {
		return err
	}
	if _, err := w.exec("INSERT INTO sessions (sid, device, used, sealed) VALUES (?, ?, ?, ?)", x.ID[:], x.Device[:], used, sealed); err != nil {
		return err
	}
	_, err = w.exec(`UPDATE sessions SET sealed = NULL WHERE device = ? AND sealed IS NOT NULL AND sid NOT IN
		(SELECT sid FROM sessions WHERE device = ? AND sealed IS NOT NULL ORDER BY used DESC LIMIT ?)`, x.Device[:], x.Device[:], openSessions)
	return err
}

// Session returns a stored session. known is false for an id that was never seen; the state of a closed one is nil.
func (s *Store) Session(ctx context.Context, id session.ID) (x Session, known bool, err error) {
	var device, sealed []byte
	var used int64
	err = s.write.QueryRowContext(ctx, "SELECT device, used, sealed FROM sessions WHERE sid = ?", id[:]).Scan(&device, &used, &sealed)
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
	return classify("sweep sessions", s.file.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE sessions SET sealed = NULL WHERE used < ?", now.Add(-sessionMaxAge).UnixMilli())
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM sessions WHERE used < ?", now.Add(-seenFor).UnixMilli())
		}
		return err
	}))
}

func blockedLabel(d delivery.Device) string { return fmt.Sprintf("blocked %x", d[:]) }

// block keeps an envelope, or counts it where too many wait already: its sender holds it too, and a stranger must not be able to fail a batch.
func (w *writer) block(x *Blocked) error {
	var n int
	if err := w.tx.QueryRowContext(w.ctx, "SELECT COUNT(*) FROM blocked WHERE device = ?", x.Device[:]).Scan(&n); err != nil {
		return err
	}
	if n >= maxBlocked {
		w.refused++
		return nil
	}
	_, err := w.exec("INSERT INTO blocked (device, tag, way, envelope) VALUES (?, ?, ?, ?)",
		x.Device[:], w.s.tag(string(x.Account)), x.Way, w.s.box.seal(blockedLabel(x.Device), x.Envelope))
	return err
}

// BlockedOf returns the envelopes that wait for a device to be accepted, oldest first.
func (s *Store) BlockedOf(ctx context.Context, name delivery.Account, d delivery.Device) ([]Blocked, error) {
	rows, err := s.write.QueryContext(ctx, "SELECT id, way, envelope FROM blocked WHERE device = ? ORDER BY id", d[:])
	if err != nil {
		return nil, classify("read blocked envelopes", err)
	}
	defer rows.Close()
	var out []Blocked
	for rows.Next() {
		x := Blocked{Account: name, Device: d}
		var sealed []byte
		if err := rows.Scan(&x.ID, &x.Way, &sealed); err != nil {
			return nil, classify("read blocked envelopes", err)
		}
		if x.Envelope, err = s.box.open(blockedLabel(d), sealed); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, classify("read blocked envelopes", rows.Err())
}
