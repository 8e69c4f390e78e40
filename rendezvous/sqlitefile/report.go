package sqlitefile

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Damage is one thing that was wrong.
type Damage struct {
	File   string // what the name of the file ends with: "" for the database, -wal, .sums, .mark
	Page   uint32 // of the database; 0: none
	Detail string
	Mended bool // nothing was lost by it
}

// Report says what Open has found, and what it has done about it.
type Report struct {
	Time   time.Time
	Damage []Damage // at most maxDamage
	More   int      // damage beyond that
	Kept   string   // the damaged database, with its log and sums beside it under the same prefix; empty: nothing had to be replaced
	Tables []Loss   // tables of which something is or may be lost
	Rows   []Row    // rows that are lost and of which an index still knows something; at most maxRows
	// Uncertain is set where it is not known what is lost: pages whose number nobody knows, or the whole outline of the database.
	Uncertain bool
}

// Loss is what a table has lost.
type Loss struct {
	Table string
	Pages int   // of the table that could not be read; rows on them are lost
	Rows  int   // lost rows that an index knows of; at least so many, where the table has an index
	Kept  int   // rows that were carried over
	Back  int64 // rows that the owner of the database has put back from elsewhere
}

// Row is a lost row, as far as indexes tell.
type Row struct {
	Table   string
	Columns map[string]any // int64, float64, string, []byte or nil; "rowid" among them where the table has one
}

// Bounds of a report: damage beyond them is counted only.
const (
	maxDamage = 100
	maxRows   = 100_000
)

// Restored notes that the owner of the database has put rows of a table back.
func (r *Report) Restored(table string, rows int64) {
	for i := range r.Tables {
		if r.Tables[i].Table == table {
			r.Tables[i].Back += rows
			return
		}
	}
}

func (r *Report) add(damage ...Damage) {
	for _, d := range damage {
		if len(r.Damage) < maxDamage {
			r.Damage = append(r.Damage, d)
		} else {
			r.More++
		}
	}
}

// only reports that nothing but the given files was damaged.
func (r *Report) only(files ...string) bool {
	return r.More == 0 && !slices.ContainsFunc(r.Damage, func(d Damage) bool { return !slices.Contains(files, d.File) })
}

// Lossless reports that every bit was turned back: nothing is lost.
func (r *Report) Lossless() bool { return len(r.Tables) == 0 && !r.Uncertain }

func (d Damage) String() string {
	what := "the database"
	switch d.File {
	case logSuffix:
		what = "its log"
	case sumsSuffix:
		what = "the sums of its pages"
	case markSuffix:
		what = "the mark of its log"
	}
	if d.Page > 0 {
		what += fmt.Sprintf(", page %d", d.Page)
	}
	if d.Detail != "" {
		what += ", " + d.Detail
	}
	if d.Mended {
		return what + " (mended)"
	}
	return what
}

// found says what was wrong, for a person.
func (r *Report) found() string {
	var b strings.Builder
	for i, d := range r.Damage {
		if i == 3 {
			fmt.Fprintf(&b, ", and %d more", len(r.Damage)-i+r.More)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(d.String())
	}
	return b.String()
}

// String says it in one line, for a person, once it is known what was lost.
func (r *Report) String() string {
	var b strings.Builder
	b.WriteString(r.found())
	switch {
	case r.Lossless():
		b.WriteString("; nothing was lost")
	case r.Uncertain:
		b.WriteString("; it is not known what was lost")
	}
	for _, t := range r.Tables {
		fmt.Fprintf(&b, "; %s lost %d pages with at least %d rows and kept %d rows", t.Table, t.Pages, t.Rows, t.Kept)
		if t.Back > 0 {
			fmt.Fprintf(&b, ", and %d were put back from elsewhere", t.Back)
		}
	}
	return b.String()
}

// LogValue implements slog.LogValuer.
func (r *Report) LogValue() slog.Value {
	return slog.GroupValue(slog.String("found", r.String()), slog.String("kept_aside", r.Kept))
}

// Kept returns the damaged databases that were kept aside beside path, the oldest first. They stay until a person removes them.
func Kept(path string) ([]string, error) {
	pattern := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path) + keptSuffix + "-*"
	names, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("look for damaged databases: %w", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return strings.HasSuffix(name, logSuffix) || strings.HasSuffix(name, indexSuffix) || strings.HasSuffix(name, sumsSuffix) || strings.HasSuffix(name, markSuffix)
	})
	slices.Sort(names)
	return names, nil
}
