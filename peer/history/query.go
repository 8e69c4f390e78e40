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

const columns = "SELECT ord, tag, device, n, own, shown, seen, id, stage, way, took, reason, sealed FROM messages "

// Find returns the entries that a query selects, oldest first. A search decrypts and scans: the file holds no index of words.
func (s *Store) Find(ctx context.Context, q Query) ([]Entry, error) {
	where, args, order := "WHERE 1 = 1", []any{}, " ORDER BY ord DESC"
	if q.Peer != "" {
		where, args = where+" AND tag = ?", append(args, s.tag(string(q.Peer)))
	}
	if q.ID != nil {
		where, args = where+" AND id = ?", append(args, q.ID[:])
	}
	if q.Unseen {
		where, order = where+" AND shown = 0", " ORDER BY ord"
	}
	if q.After > 0 {
		where, args = where+" AND ord > ?", append(args, q.After)
	}
	rows, err := s.read.QueryContext(ctx, columns+where+order, args...)
	if err != nil {
		return nil, classify("read history", err)
	}
	defer rows.Close()
	fold := cases.Fold()
	needle := fold.String(q.Search)
	var out []Entry
	for rows.Next() && len(out) < q.Limit {
		e, err := s.scan(rows)
		if err != nil {
			return nil, classify("read history", err)
		}
		if needle == "" || strings.Contains(fold.String(e.Body), needle) {
			out = append(out, e)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, classify("read history", err)
	}
	if !q.Unseen {
		slices.Reverse(out)
	}
	return out, nil
}

func (s *Store) scan(rows *sql.Rows) (Entry, error) {
	var (
		e                       Entry
		tag, device, id, sealed []byte
		took                    int64
		row                     stored
	)
	err := rows.Scan(&e.Order, &tag, &device, &e.N, &e.Own, &e.Shown, &e.Read, &id, &e.Progress.Stage, &e.Progress.Way, &took, &e.Progress.Reason, &sealed)
	if err != nil {
		return e, err
	}
	copy(e.Device[:], device)
	copy(e.ID[:], id)
	if err := s.box.openJSON(messageLabel(tag, e.Device, e.N), sealed, &row); err != nil {
		return e, err
	}
	e.Progress.Took = time.Duration(took) * time.Microsecond
	e.Peer, e.From, e.CopyOf = delivery.Account(row.Peer), delivery.Account(row.From), delivery.Account(row.CopyOf)
	e.Body, e.Sent, e.Received = row.Body, fromMicros(row.Sent), fromMicros(row.Received)
	return e, nil
}

// MarkShownUpto records that a face has shown a received message and all before it. A message that does not stand at that place changes
// nothing: whoever remembers it remembers another history, perhaps one from before a backup was put back.
func (s *Store) MarkShownUpto(ctx context.Context, order int64, id delivery.MessageID) error {
	_, err := s.write.ExecContext(ctx, `UPDATE messages SET shown = 1
		WHERE shown = 0 AND ord <= ?1 AND EXISTS (SELECT 1 FROM messages WHERE ord = ?1 AND id = ?2)`, order, id[:])
	if err != nil {
		return classify("mark shown", err)
	}
	return nil
}

// MarkShown records that a face has shown received messages. Unknown ids are ignored.
func (s *Store) MarkShown(ctx context.Context, ids []delivery.MessageID) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return classify("mark shown", err)
	}
	for _, id := range ids {
		if _, err := tx.ExecContext(ctx, "UPDATE messages SET shown = 1 WHERE id = ? AND own = 0", id[:]); err != nil {
			return classify("mark shown", errors.Join(err, tx.Rollback()))
		}
	}
	return classify("mark shown", tx.Commit())
}
