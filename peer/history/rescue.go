package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/rendezvous/sqlitefile"
)

// Damage says what Open has found to be damaged, for a person, and where the damaged file was put aside. found is empty where
// the file was whole.
func (s *Store) Damage() (found, aside string) {
	if r := s.file.Report(); r != nil {
		found, aside = r.String(), r.Kept
	}
	if len(s.damage) > 0 {
		found, aside = join(found, "journal: "+strings.Join(s.damage, "; ")), join(aside, s.aside)
	}
	return found, aside
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// rescued puts in order what a rescue has carried over: numbers go on behind every number that is known, lost messages become gaps, and a contact whose
// pins are lost waits for the person. Lost sessions need nothing: their devices are asked for new ones.
func (s *Store) rescued(ctx context.Context, db *sql.DB, r *sqlitefile.Report) error {
	x := &rescuer{s: s, ctx: ctx, db: db, lost: map[string]bool{}, accounts: map[[16]byte]numbered{}, devices: map[delivery.Device]uint64{}}
	for _, t := range r.Tables {
		x.lost[t.Table] = true
	}
	for _, row := range r.Rows {
		if row.Table == "runs" {
			x.runs = append(x.runs, lostRun(row.Columns))
		}
	}
	for _, step := range []func() error{x.key, x.read, x.gaps, x.number, x.contacts} {
		if err := step(); err != nil {
			return classify("put the rescued history in order", err)
		}
	}
	return nil
}

// rescuer works on the fresh file of a rescue.
type rescuer struct {
	s    *Store
	ctx  context.Context // of this one rescue
	db   *sql.DB         // one connection
	lost map[string]bool // tables
	runs []runSpan       // lost

	accounts map[[16]byte]numbered
	devices  map[delivery.Device]uint64 // highest number that is known of it
}

// numbered is an account and the highest number that is known to have been used to it.
type numbered struct {
	name delivery.Account
	last uint64
}

// runSpan is what the indexes know of a run.
type runSpan struct {
	ord    int64
	device delivery.Device
	known  bool // the device
	tag    [16]byte
	last   uint64
}

func lostRun(columns map[string]any) (r runSpan) {
	r.ord, _ = columns["rowid"].(int64)
	if d, ok := columns["device"].([]byte); ok && len(d) == len(r.device) {
		r.known = true
		copy(r.device[:], d)
	}
	if tag, ok := columns["tag"].([]byte); ok {
		copy(r.tag[:], tag)
	}
	last, _ := columns["last"].(int64)
	r.last = uint64(last)
	return r
}

// key refuses to go on with another key than the file was made with: nothing would open, and all of it would be taken for lost.
func (x *rescuer) key() error {
	var sealed []byte
	err := x.db.QueryRowContext(x.ctx, "SELECT sealed FROM contacts WHERE tag = ?", []byte(canary)).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		_, err = x.s.box.open(canary, sealed)
	}
	return err
}

// read gathers the highest number of each account and device. Runs that do not open are not what was written: they count as lost.
func (x *rescuer) read() error {
	var altered []runSpan
	sound := 0
	err := each(x.ctx, x.db, columns, func(rows *sql.Rows) error {
		r, err := x.s.scan(rows)
		if err != nil {
			return x.altered(rows, &altered)
		}
		sound++
		_, last := r.span()
		a := x.accounts[r.tag]
		if a.name = r.peer; r.own() {
			a.last = max(a.last, last)
		} else {
			x.devices[r.device] = max(x.devices[r.device], last)
		}
		x.accounts[r.tag] = a
		return nil
	})
	if err != nil {
		return err
	}
	if sound == 0 && len(altered) > 0 {
		return ErrDamaged
	}
	for _, r := range altered {
		err := x.db.QueryRowContext(x.ctx, "SELECT last FROM runs WHERE ord = ?", r.ord).Scan(&r.last)
		if err != nil {
			return err
		}
		r.known = true
		x.runs = append(x.runs, r)
		if _, err := x.db.ExecContext(x.ctx, "DELETE FROM runs WHERE ord = ?", r.ord); err != nil {
			return err
		}
	}
	slices.SortFunc(x.runs, func(a, b runSpan) int { return int(a.ord - b.ord) })
	for _, r := range x.runs {
		if !r.known {
			continue
		}
		if a, ok := x.accounts[r.tag]; ok && r.device == (delivery.Device{}) {
			a.last = max(a.last, r.last)
			x.accounts[r.tag] = a
		} else if r.device != (delivery.Device{}) {
			x.devices[r.device] = max(x.devices[r.device], r.last)
		}
	}
	return nil
}

// altered notes a run that does not open.
func (x *rescuer) altered(rows *sql.Rows, to *[]runSpan) error {
	var r runSpan
	var count uint64
	var tag, device []byte
	var unused any
	if err := rows.Scan(&r.ord, &count, &tag, &device, &unused, &unused, &unused); err != nil {
		return err
	}
	copy(r.tag[:], tag)
	copy(r.device[:], device)
	*to = append(*to, r)
	return nil
}

// gaps makes a gap of each lost run of the visible history.
func (x *rescuer) gaps() error {
	for _, r := range x.runs {
		if !r.known || r.ord < 0 {
			continue
		}
		var before sql.NullInt64
		query := "SELECT max(last) FROM (SELECT last FROM runs WHERE device = ? AND last < ? UNION ALL SELECT last FROM gaps WHERE device = ? AND last < ?)"
		if err := x.db.QueryRowContext(x.ctx, query, r.device[:], int64(r.last), r.device[:], int64(r.last)).Scan(&before); err != nil {
			return err
		}
		_, err := x.db.ExecContext(x.ctx, "INSERT OR IGNORE INTO gaps (device, first, last, after) VALUES (?, ?, ?, ?)",
			r.device[:], before.Int64+1, int64(r.last), max(r.ord-1, 0))
		if err != nil {
			return err
		}
	}
	return nil
}

// number lets a numbering whose row is lost go on behind what is known. The link of a row that is made anew is not known: the first acknowledgement shows that, and
// then the two sides agree on new numbers, as they do after a backup was put back.
func (x *rescuer) number() error {
	for tag, a := range x.accounts {
		_, err := x.db.ExecContext(x.ctx, "INSERT INTO accounts (tag, name, next, tip, seen) VALUES (?, ?, ?, zeroblob(8), 0) ON CONFLICT (tag) DO NOTHING",
			tag[:], x.s.box.seal(accountLabel(tag[:]), []byte(a.name)), int64(a.last+1))
		if err != nil {
			return err
		}
	}
	for d, last := range x.devices {
		_, err := x.db.ExecContext(x.ctx, "INSERT INTO devices (device, start, next, tip, high) VALUES (?, 0, ?, zeroblob(8), ?) ON CONFLICT (device) DO NOTHING",
			d[:], int64(last+1), int64(last))
		if err != nil {
			return err
		}
	}
	return nil
}

// contacts puts a mark in the place of each contact whose record is lost: a device that is gone. With it the account is not taken for a new one, whose keys
// would be pinned as they come; the keys that the directory lists wait until the person has compared them.
func (x *rescuer) contacts() error {
	if !x.lost["contacts"] {
		return nil
	}
	known := map[[16]byte]bool{}
	err := each(x.ctx, x.db, "SELECT tag FROM contacts", func(rows *sql.Rows) error {
		var tag []byte
		err := rows.Scan(&tag)
		if len(tag) == 16 {
			known[[16]byte(tag)] = true
		}
		return err
	})
	if err != nil {
		return err
	}
	err = each(x.ctx, x.db, "SELECT tag, name FROM accounts", func(rows *sql.Rows) error {
		var tag, sealed []byte
		if err := rows.Scan(&tag, &sealed); err != nil {
			return err
		}
		name, err := x.s.box.open(accountLabel(tag), sealed)
		if err == nil && len(tag) == 16 {
			a := x.accounts[[16]byte(tag)]
			a.name = delivery.Account(name)
			x.accounts[[16]byte(tag)] = a
		}
		return err
	})
	if err != nil {
		return err
	}
	for tag, a := range x.accounts {
		if known[tag] {
			continue
		}
		mark := &Contact{Name: a.name, Changed: true, FirstSeen: time.Unix(0, 0).UTC(), Devices: []*Device{{Trust: Gone}}}
		sealed, err := x.s.box.sealJSON(fmt.Sprintf("contact %x", tag), mark)
		if err != nil {
			return err
		}
		if _, err := x.db.ExecContext(x.ctx, "INSERT INTO contacts (tag, sealed) VALUES (?, ?)", tag[:], sealed); err != nil {
			return err
		}
	}
	return nil
}
