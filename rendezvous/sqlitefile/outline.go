package sqlitefile

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

func (o outline) equal(p outline) bool {
	return o.ApplicationID == p.ApplicationID && o.Mapped == p.Mapped && slices.Equal(o.Objects, p.Objects) && slices.Equal(o.Pinned, p.Pinned)
}

// readOutline asks SQLite for the outline of a database.
func readOutline(ctx context.Context, db queryer, pinned []string) (o outline, err error) {
	var mapped int
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&o.ApplicationID); err != nil {
		return o, err
	}
	if err := db.QueryRowContext(ctx, "PRAGMA auto_vacuum").Scan(&mapped); err != nil {
		return o, err
	}
	o.Mapped = mapped != 0
	rows, err := db.QueryContext(ctx, "SELECT type, name, tbl_name, rootpage, coalesce(sql, '') FROM sqlite_schema ORDER BY rowid")
	if err != nil {
		return o, err
	}
	defer rows.Close()
	for rows.Next() {
		var x object
		if err := rows.Scan(&x.Type, &x.Name, &x.Table, &x.Root, &x.SQL); err != nil {
			return o, err
		}
		o.Objects = append(o.Objects, x)
	}
	if err := rows.Err(); err != nil {
		return o, err
	}
	for _, table := range pinned {
		statements, err := inserts(ctx, db, table)
		if err != nil {
			return o, err
		}
		o.Pinned = append(o.Pinned, statements...)
	}
	return o, nil
}

// HasTable reports whether a database has a table of that name, which one of an earlier version may not. The errors are SQLite's.
func HasTable(ctx context.Context, db *sql.DB, name string) (bool, error) {
	var tables int
	err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?", name).Scan(&tables)
	return tables > 0, err
}

// inserts returns statements that make the rows of a table again.
func inserts(ctx context.Context, db queryer, table string) ([]string, error) {
	columns, err := tableColumns(ctx, db, table)
	if err != nil || len(columns) == 0 {
		return nil, err
	}
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = "quote(" + quoteName(c.name) + ")"
	}
	rows, err := db.QueryContext(ctx, "SELECT "+strings.Join(quoted, " || ', ' || ")+" FROM "+quoteName(table))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var values string
		if err := rows.Scan(&values); err != nil {
			return nil, err
		}
		all = append(all, fmt.Sprintf("INSERT OR IGNORE INTO %s VALUES (%s)", quoteName(table), values))
	}
	return all, rows.Err()
}

func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// column is one of a table.
type column struct {
	name string
	kind string
	key  int // its place in the primary key, from 1; 0: not in it
}

func tableColumns(ctx context.Context, db queryer, table string) ([]column, error) {
	rows, err := db.QueryContext(ctx, "SELECT name, type, pk FROM pragma_table_info(?) ORDER BY cid", table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []column
	for rows.Next() {
		var c column
		if err := rows.Scan(&c.name, &c.kind, &c.key); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

// shape says how the records of a table lie in its pages.
type shape struct {
	table   string
	columns []string // in the order of a record
	alias   int      // the column that is the rowid, as it stands in a record: NULL; -1: none
	rowid   bool     // false: WITHOUT ROWID, records begin with the key
	keys    int      // how many columns the key has, of a table without rowid
}

// tableShape asks a database that has the table, empty or not.
func tableShape(ctx context.Context, db queryer, table string) (s shape, err error) {
	s = shape{table: table, alias: -1, rowid: true}
	columns, err := tableColumns(ctx, db, table)
	if err != nil {
		return s, err
	}
	var without bool
	if err := db.QueryRowContext(ctx, "SELECT wr FROM pragma_table_list(?) WHERE schema = 'main'", table).Scan(&without); err != nil {
		return s, err
	}
	s.rowid = !without
	for _, c := range columns {
		s.keys = max(s.keys, c.key)
	}
	if without { // the key first, in its own order
		slices.SortStableFunc(columns, func(a, b column) int { return keyOrder(a) - keyOrder(b) })
	}
	for i, c := range columns {
		s.columns = append(s.columns, c.name)
		if s.rowid && s.keys == 1 && c.key == 1 && strings.EqualFold(c.kind, "INTEGER") {
			s.alias = i
		}
	}
	return s, nil
}

func keyOrder(c column) int {
	if c.key == 0 {
		return 1 << 20
	}
	return c.key
}

// indexColumns returns what a record of an index consists of; "rowid" for the rowid.
func indexColumns(ctx context.Context, db queryer, index string) ([]string, error) {
	rows, err := db.QueryContext(ctx, "SELECT coalesce(name, 'rowid') FROM pragma_index_xinfo(?) ORDER BY seqno", index)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		all = append(all, name)
	}
	return all, rows.Err()
}
