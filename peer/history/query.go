package history

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/cases"

	"github.com/byway-chat/byway/peer/delivery"
)

// Entry is one message of the visible history.
type Entry struct {
	Order  int64 // rises over the whole history
	ID     delivery.MessageID
	Own    bool // sent by this device
	Shown  bool // to a person, by some face
	Read   bool // own: its recipient has said so
	Peer   delivery.Account
	From   delivery.Account // of a received one; our own name on a copy from another device of ours
	CopyOf delivery.Account
	Device delivery.Device
	N      uint64
	Body   string
	Sent   time.Time
	// Received is zero on our own.
	Received time.Time
	Progress delivery.Progress // own; of a received one only the way
}

// Query selects entries.
type Query struct {
	Peer   delivery.Account // empty: all conversations
	Search string           // part of the body, case folded; empty: all
	Limit  int              // the newest so many
	ID     *delivery.MessageID
	Unseen bool  // only what no face has shown, oldest first, up to Limit
	After  int64 // only entries with a higher Order
}

const columns = "SELECT ord, count, tag, device, unshown, states, sealed FROM runs "

// Find returns the entries that a query selects, oldest first. A search decrypts and scans: the file holds no index of words.
func (s *Store) Find(ctx context.Context, q Query) ([]Entry, error) {
	where, args, order := "WHERE ord > 0", []any{}, " ORDER BY ord DESC"
	if q.Peer != "" {
		where, args = where+" AND tag = ?", append(args, s.tag(string(q.Peer)))
	}
	if q.ID != nil {
		if ord, ok := s.recent.Get(*q.ID); ok {
			where, args = where+" AND ord <= ? AND ord + count > ?", append(args, ord, ord)
		}
	}
	if q.Unseen {
		where, order = where+" AND unshown <> 0", " ORDER BY ord"
	}
	if q.After > 0 {
		where, args = where+" AND ord + count > ?", append(args, q.After)
	}
	var out []Entry
	err := s.view(ctx, func(db querier) (err error) {
		if out, err = s.find(ctx, db, q, columns+where+order, args); err != nil {
			return err
		}
		return s.markRead(ctx, db, out)
	})
	return out, classify("read history", err)
}

// find gathers entries in the order of the query, and returns them oldest first.
func (s *Store) find(ctx context.Context, db querier, q Query, query string, args []any) ([]Entry, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	match := q.matcher()
	var out []Entry
	for rows.Next() && len(out) < q.Limit {
		r, err := s.scan(rows)
		if err != nil {
			return nil, err
		}
		for i := range r.msgs {
			if !q.Unseen {
				i = len(r.msgs) - 1 - i // the newest first
			}
			if len(out) < q.Limit && match(r, i) {
				out = append(out, r.entry(i))
			}
		}
	}
	if !q.Unseen {
		slices.Reverse(out)
	}
	return out, errors.Join(rows.Err(), rows.Close())
}

// matcher returns what the file cannot select by.
func (q *Query) matcher() func(*run, int) bool {
	fold := cases.Fold()
	needle := fold.String(q.Search)
	return func(r *run, i int) bool {
		m := &r.msgs[i]
		return (!q.Unseen || r.unshown&(1<<i) != 0) && r.ord+int64(i) > q.After && (q.ID == nil || m.id == *q.ID) &&
			(needle == "" || strings.Contains(fold.String(m.body), needle))
	}
}

// scan reads a row of columns.
func (s *Store) scan(rows *sql.Rows) (*run, error) {
	var (
		r                           run
		count                       int
		unshown                     int64
		tag, device, states, sealed []byte
	)
	if err := rows.Scan(&r.ord, &count, &tag, &device, &unshown, &states, &sealed); err != nil {
		return nil, err
	}
	copy(r.tag[:], tag)
	copy(r.device[:], device)
	r.unshown = uint64(unshown)
	plain, err := s.box.open(r.label(), sealed)
	if err != nil {
		return nil, err
	}
	if err := r.decode(plain, count); err != nil {
		return nil, err
	}
	return &r, r.decodeStates(states)
}

// entry is the i-th message of a run as the history shows it.
func (r *run) entry(i int) Entry {
	m := &r.msgs[i]
	e := Entry{
		Order: r.ord + int64(i), ID: m.id, Own: r.own(), Shown: r.unshown&(1<<i) == 0, Peer: r.peer, From: r.from, CopyOf: r.copyOf, Device: r.device,
		N: m.n, Body: m.body, Sent: fromMicros(m.sent), Received: fromMicros(m.received), Progress: delivery.Progress{Way: m.way},
	}
	if r.own() {
		e.Progress = m.state.progress
	}
	return e
}

// markRead marks those of our own messages that a person has seen.
func (s *Store) markRead(ctx context.Context, db querier, entries []Entry) error {
	seen := map[delivery.Account]uint64{}
	for i := range entries {
		e := &entries[i]
		if !e.Own {
			continue
		}
		upto, known := seen[e.Peer]
		if !known {
			err := db.QueryRowContext(ctx, "SELECT seen FROM accounts WHERE tag = ?", s.tag(string(e.Peer))).Scan(&upto)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			seen[e.Peer] = upto
		}
		e.Read = e.N <= upto
	}
	return nil
}

// lookBack is how many runs with messages that no face has shown are searched for one that does not stand where it should, the latest first.
const lookBack = 64

// MarkShownUpto records that a face has shown a received message and all before it. Where the message does not stand at that place, whoever
// remembers it remembers another history, perhaps one from before a backup was put back: then it alone is marked, for what is before
// it here need not have been shown. A message that is not here changes nothing.
func (s *Store) MarkShownUpto(ctx context.Context, order int64, id delivery.MessageID) error {
	return s.markShown(ctx, func(tx *sql.Tx) error {
		at, err := s.runsIn(ctx, tx, "WHERE ord > 0 AND ord <= ? ORDER BY ord DESC LIMIT 1", order)
		if err != nil {
			return err
		}
		if len(at) == 0 || !at[0].hasAt(order-at[0].ord, id) {
			return s.markElsewhere(ctx, tx, id)
		}
		r, i := at[0], order-at[0].ord
		if _, err := tx.ExecContext(ctx, "UPDATE runs SET unshown = 0 WHERE unshown <> 0 AND ord < ?", r.ord); err != nil {
			return err
		}
		return unmark(ctx, tx, r, r.unshown&(1<<(i+1)-1))
	})
}

// hasAt reports whether the i-th message has this id.
func (r *run) hasAt(i int64, id delivery.MessageID) bool {
	return i < int64(len(r.msgs)) && r.msgs[i].id == id
}

// markElsewhere marks one message wherever it stands among the latest that no face has shown.
func (s *Store) markElsewhere(ctx context.Context, tx *sql.Tx, id delivery.MessageID) error {
	runs, err := s.runsIn(ctx, tx, "WHERE ord > 0 AND unshown <> 0 ORDER BY ord DESC LIMIT ?", lookBack)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if i := slices.IndexFunc(r.msgs, func(m message) bool { return m.id == id }); i >= 0 {
			return unmark(ctx, tx, r, r.unshown&(1<<i))
		}
	}
	return nil
}

// MarkShown records that a face has shown received messages. Unknown ids are ignored.
func (s *Store) MarkShown(ctx context.Context, ids []delivery.MessageID) error {
	return s.markShown(ctx, func(tx *sql.Tx) error {
		runs, err := s.runsIn(ctx, tx, "WHERE unshown <> 0")
		if err != nil {
			return err
		}
		for _, r := range runs {
			var bits uint64
			for i := range r.msgs {
				if slices.Contains(ids, r.msgs[i].id) {
					bits |= 1 << i
				}
			}
			if err := unmark(ctx, tx, r, r.unshown&bits); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) markShown(ctx context.Context, mark func(*sql.Tx) error) error {
	return classify("mark shown", s.alter(ctx, mark))
}

func (s *Store) runsIn(ctx context.Context, tx *sql.Tx, where string, args ...any) ([]*run, error) {
	rows, err := tx.QueryContext(ctx, columns+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*run
	for rows.Next() {
		r, err := s.scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// unmark clears bits of what no face has shown.
func unmark(ctx context.Context, tx *sql.Tx, r *run, bits uint64) error {
	if bits == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, "UPDATE runs SET unshown = unshown & ~? WHERE ord = ?", int64(bits), r.ord)
	return err
}
