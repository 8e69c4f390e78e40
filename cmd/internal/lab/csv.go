package lab

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Column is one column of the file, and what is in it.
type Column struct{ Name, Meaning string }

// Columns are those of the file, in order. A field is empty where there is nothing to say.
var Columns = []Column{
	{"kind", "message, probe (a round trip without a message), fault (a fault from sent_ms to done_ms) or route (the way in use changed at sent_ms)"},
	{"n", "number of the message or probe, from 1, in the order of sending"},
	{"phase", "turns, loss, load, drop or kill"},
	{"block", "what was sent together, from 1 in each phase"},
	{"asked", "the way that was asked for; of a fault the way that has it, of a route the way before"},
	{"way", "the way that it took, as the receipt says; of a route the way after"},
	{"state", "delivered or answered; lost: nothing came back; failed: refused or given up; pending: the experiment was interrupted"},
	{"size_bytes", "bytes of text"},
	{"sent_ms", "when it was handed to the peer, in ms since the beginning"},
	{"accepted_ms", "when it was on the sender's disk, in ms since the beginning"},
	{"shown_ms", "when the recipient's peer first told it, in ms since the beginning"},
	{"done_ms", "when the receipt or answer was there, in ms since the beginning"},
	{"latency_ms", "of a message from acceptance until its receipt was back, as the sender's peer measured it; of a probe the round trip"},
	{"shown_times", "how often the recipient's peer told it; empty where that cannot be seen"},
	{"out_of_order", "1 where it was shown after one that was accepted later"},
	{"note", "why it failed; what the fault is; why the route changed"},
}

func header() []string {
	var names []string
	for _, c := range Columns {
		names = append(names, c.Name)
	}
	return names
}

// Header is the first line of the file, without its end.
func Header() string { return strings.Join(header(), ",") }

// WriteCSV writes rows as RFC 4180 says, with "\n" at the ends of lines. Times are milliseconds with three decimals.
func WriteCSV(w io.Writer, rows []Row) error {
	out := csv.NewWriter(w)
	if err := out.Write(header()); err != nil {
		return fmt.Errorf("write samples: %w", err)
	}
	for i := range rows {
		if err := out.Write(rows[i].fields()); err != nil {
			return fmt.Errorf("write samples: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write samples: %w", err)
	}
	return nil
}

func (r *Row) fields() []string {
	sample := r.Kind == Message || r.Kind == Probe
	number := func(n int, told bool) string {
		if !told {
			return ""
		}
		return strconv.Itoa(n)
	}
	disorder := ""
	if r.Times >= 0 {
		disorder = "0"
		if r.Disorder {
			disorder = "1"
		}
	}
	return []string{
		string(r.Kind), number(r.N, sample), string(r.Phase), number(r.Block, sample), r.Asked, r.Way, string(r.State), number(r.Size, sample),
		r.Sent.String(), r.Accepted.String(), r.Shown.String(), r.Done.String(), r.Latency.String(), number(r.Times, r.Times >= 0), disorder, r.Note,
	}
}

// String is the time in milliseconds with three decimals, and empty for None.
func (o Offset) String() string {
	if o == None {
		return ""
	}
	return strconv.FormatFloat(o.MS(), 'f', 3, 64)
}

// MS is the time in milliseconds.
func (o Offset) MS() float64 { return float64(time.Duration(o).Microseconds()) / 1000 }

// ErrFormat is in the chain of every error of ReadCSV that is about the content.
var ErrFormat = errors.New("not a file of samples")

// MaxRows is the most rows that ReadCSV takes.
const MaxRows = 1 << 20

// ReadCSV reads what WriteCSV wrote.
func ReadCSV(r io.Reader) ([]Row, error) {
	in := csv.NewReader(r)
	in.FieldsPerRecord, in.ReuseRecord = len(Columns), true
	first, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if !slices.Equal(first, header()) {
		return nil, fmt.Errorf("%w: its columns are others", ErrFormat)
	}
	var rows []Row
	for {
		fields, err := in.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if len(rows) == MaxRows {
			return nil, fmt.Errorf("%w: more than %d rows", ErrFormat, MaxRows)
		}
		row, err := parseRow(fields)
		if err != nil {
			return nil, fmt.Errorf("%w: row %d: %w", ErrFormat, len(rows)+1, err)
		}
		rows = append(rows, row)
	}
}

func parseRow(f []string) (Row, error) {
	var failed error
	number := func(s string, absent int) int {
		if s == "" {
			return absent
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			failed = errors.Join(failed, fmt.Errorf("%q is not a number", s))
		}
		return n
	}
	offset := func(s string) Offset {
		o, err := parseOffset(s)
		failed = errors.Join(failed, err)
		return o
	}
	row := Row{
		Kind: Kind(f[0]), N: number(f[1], 0), Phase: Phase(f[2]), Block: number(f[3], 0), Asked: f[4], Way: f[5], State: State(f[6]), Size: number(f[7], 0),
		Sent: offset(f[8]), Accepted: offset(f[9]), Shown: offset(f[10]), Done: offset(f[11]), Latency: offset(f[12]),
		Times: number(f[13], -1), Disorder: f[14] == "1", Note: f[15],
	}
	switch row.Kind {
	case Message, Probe, Fault, Route:
	default:
		failed = errors.Join(failed, fmt.Errorf("there is no kind %q", row.Kind))
	}
	return row, failed
}

// maxMS bounds a time: more than a year is no experiment of ours.
const maxMS = 366 * 24 * 3600 * 1000

func parseOffset(s string) (Offset, error) {
	if s == "" {
		return None, nil
	}
	ms, err := strconv.ParseFloat(s, 64)
	if err != nil || !(ms > -maxMS && ms < maxMS) {
		return None, fmt.Errorf("%q is not a time", s)
	}
	return rounded(time.Duration(ms * float64(time.Millisecond))), nil
}
