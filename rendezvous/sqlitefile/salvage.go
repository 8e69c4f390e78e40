package sqlitefile

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// salvage carries the rows that can be read into the fresh file at path, and says what is lost.
func (f *File) salvage(ctx context.Context, im *image, kept outline, path string, report *Report) (err error) {
	w, err := survey(im, kept)
	if err != nil {
		return err
	}
	db := connect(path, 1, "_pragma=auto_vacuum(incremental)&_pragma=journal_mode(off)&_pragma=synchronous(off)&_pragma=foreign_keys(off)")
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return Classify("make the fresh database", err)
	}
	s := &salvager{w: w, conn: conn, report: report, found: map[string]map[string]bool{}, shapes: map[string]shape{}}
	if err := errors.Join(s.run(ctx), conn.Close()); err != nil {
		return Classify("carry rows into the fresh database", err)
	}
	report.Uncertain = report.Uncertain || w.unsure || im.log.nameless > 0
	if s.kept == 0 && len(report.Tables) > 0 { // an empty database is no rescue: a person has to decide
		return fmt.Errorf("carry rows into the fresh database: %w: nothing in it can be read", ErrDamaged)
	}
	if f.opts.Rescued != nil {
		if err := f.opts.Rescued(ctx, db, report); err != nil {
			return err
		}
	}
	_, err = db.ExecContext(ctx, "PRAGMA journal_mode = wal")
	return Classify("make the fresh database", err)
}

// salvager fills a fresh database.
type salvager struct {
	w      *walk
	conn   *sql.Conn
	report *Report
	shapes map[string]shape
	found  map[string]map[string]bool // table → keys of the rows that were read
	kept   int                        // rows
	rows   map[string]*Row            // lost rows by table and key
}

func (s *salvager) run(ctx context.Context) error {
	if err := s.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	id := s.w.outline.ApplicationID
	if first, err := s.w.im.page(1); err == nil {
		id = int64(int32(first[68])<<24 | int32(first[69])<<16 | int32(first[70])<<8 | int32(first[71]))
	}
	if err := s.exec(ctx, fmt.Sprintf("PRAGMA application_id = %d", id)); err != nil {
		return err
	}
	for _, o := range s.w.objects {
		if o.Type == "table" && !strings.HasPrefix(o.Name, "sqlite_") {
			if err := s.exec(ctx, o.SQL); err != nil {
				return err
			}
		}
	}
	for _, o := range s.w.objects {
		if o.Type == "table" && o.Root > 0 {
			if err := s.table(ctx, o); err != nil {
				return fmt.Errorf("table %s: %w", o.Name, err)
			}
		}
	}
	for _, statement := range s.w.outline.Pinned {
		if err := s.exec(ctx, statement); err != nil {
			return err
		}
	}
	for _, o := range s.w.objects {
		if o.Type != "table" && o.SQL != "" {
			if err := s.exec(ctx, o.SQL); err != nil {
				return err
			}
		}
	}
	if err := s.exec(ctx, "COMMIT"); err != nil {
		return err
	}
	return s.findLost(ctx)
}

func (s *salvager) exec(ctx context.Context, statement string) error {
	_, err := s.conn.ExecContext(ctx, statement)
	return err
}

// table carries the rows of one table over.
func (s *salvager) table(ctx context.Context, o object) error {
	shape, err := tableShape(ctx, s.conn, o.Name)
	if err != nil {
		return err
	}
	s.shapes[o.Name] = shape
	loss := Loss{Table: o.Name, Pages: s.w.lost[o.Root]}
	found := map[string]bool{}
	s.found[o.Name] = found
	into := inserter{conn: s.conn, shape: shape, statements: map[int]*sql.Stmt{}}
	defer into.close()
	broken := 0
	for _, page := range s.w.pages[o.Root] {
		err := s.w.records(page, func(rowid int64, values []any) error {
			if len(values) > len(shape.columns) || !shape.rowid && len(values) < shape.keys {
				broken++
				return nil
			}
			found[shape.key(rowid, values)] = true
			kept, err := into.insert(ctx, rowid, values)
			loss.Kept += kept
			return err
		}, func() { broken++ })
		if err != nil {
			return err
		}
	}
	s.kept += loss.Kept
	if loss.Pages > 0 || broken > 0 {
		loss.Rows = broken
		s.report.Tables = append(s.report.Tables, loss)
	}
	return nil
}

// key names a row within its table.
func (s shape) key(rowid int64, values []any) string {
	if s.rowid {
		return keyOf([]any{rowid})
	}
	return keyOf(values[:s.keys])
}

func keyOf(values []any) string {
	var b strings.Builder
	for _, v := range values {
		switch v := v.(type) {
		case []byte:
			fmt.Fprintf(&b, "x%x ", v)
		default:
			fmt.Fprintf(&b, "%T %v ", v, v)
		}
	}
	return b.String()
}

// inserter writes rows by statements that are prepared once.
type inserter struct {
	conn       *sql.Conn
	shape      shape
	statements map[int]*sql.Stmt // by number of values: a row may be older than the last columns of its table
	args       []any
}

func (in *inserter) insert(ctx context.Context, rowid int64, values []any) (kept int, err error) {
	st := in.statements[len(values)]
	named := in.shape.rowid && in.shape.alias < 0
	if st == nil {
		names := make([]string, 0, len(values)+1)
		for _, c := range in.shape.columns[:len(values)] {
			names = append(names, quoteName(c))
		}
		if named {
			names = append(names, "rowid")
		}
		query := "INSERT OR IGNORE INTO " + quoteName(in.shape.table) + " (" + strings.Join(names, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(names)-1) + ")"
		if st, err = in.conn.PrepareContext(ctx, query); err != nil {
			return 0, err
		}
		in.statements[len(values)] = st
	}
	in.args = append(in.args[:0], values...)
	if in.shape.alias >= 0 && in.shape.alias < len(values) {
		in.args[in.shape.alias] = rowid
	}
	if named {
		in.args = append(in.args, rowid)
	}
	result, err := st.ExecContext(ctx, in.args...)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

func (in *inserter) close() {
	for _, st := range in.statements {
		_ = st.Close()
	}
}

// findLost asks the indexes of the damaged database for rows that were not found. An index of which something is lost, too, knows less.
func (s *salvager) findLost(ctx context.Context) error {
	s.rows = map[string]*Row{}
	for _, o := range s.w.objects {
		loss := slices.IndexFunc(s.report.Tables, func(l Loss) bool { return l.Table == o.Table })
		if o.Type != "index" || loss < 0 {
			continue
		}
		columns, err := indexColumns(ctx, s.conn, o.Name)
		if err != nil {
			return err
		}
		if err := s.askIndex(o, columns); err != nil {
			return fmt.Errorf("index %s: %w", o.Name, err)
		}
	}
	for _, key := range sortedKeys(s.rows) {
		row := s.rows[key]
		s.report.Rows = append(s.report.Rows, *row)
	}
	for i := range s.report.Tables {
		l, known := &s.report.Tables[i], 0
		for _, r := range s.report.Rows {
			if r.Table == l.Table {
				known++
			}
		}
		l.Rows = max(l.Rows, known)
	}
	return nil
}

func (s *salvager) askIndex(o object, columns []string) error {
	shape := s.shapes[o.Table]
	want := []string{"rowid"}
	if !shape.rowid {
		want = shape.columns[:shape.keys]
	}
	at := make([]int, len(want))
	for i, name := range want {
		if at[i] = slices.Index(columns, name); at[i] < 0 {
			return nil
		}
	}
	for _, page := range s.w.pages[o.Root] {
		err := s.w.records(page, func(_ int64, values []any) error {
			if len(values) != len(columns) {
				return nil
			}
			key := make([]any, len(at))
			for i, c := range at {
				key[i] = values[c]
			}
			name := keyOf(key)
			if s.found[o.Table][name] {
				return nil
			}
			s.lostRow(o.Table, name, columns, values)
			return nil
		}, func() {})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *salvager) lostRow(table, key string, columns []string, values []any) {
	row := s.rows[table+" "+key]
	if row == nil {
		if len(s.rows) >= maxRows {
			s.report.Uncertain = true
			return
		}
		row = &Row{Table: table, Columns: map[string]any{}}
		s.rows[table+" "+key] = row
	}
	for i, name := range columns {
		row.Columns[name] = values[i]
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare[string])
	return keys
}

// copyImage writes every page of an image, of which none is lost, to a file at path.
func copyImage(im *image, path string) error {
	out, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make the fresh database: %w", err)
	}
	for p := uint32(1); p <= im.pages; p++ {
		b, err := im.page(p)
		if err == nil {
			_, err = out.WriteAt(b, int64(p-1)*int64(im.pageSize))
		}
		if err != nil {
			return errors.Join(fmt.Errorf("make the fresh database: %w", err), out.Close())
		}
	}
	return errors.Join(out.Sync(), out.Close())
}
