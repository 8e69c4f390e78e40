// Package ledger prints messages and knows which of them have been printed, also after the process was killed with -9 at any moment. A face
// opens a [Ledger] on its standard output, prints each message with [Ledger.Print], and after a restart goes on behind [Ledger.Last].
//
// The memory is one page in a file in volatile memory, mapped: it outlives a killed process and needs no fsync; a restart of the
// machine takes it away, and what the disk knows counts then (docs/decisions/0008-printed-once.md). On Linux the system call that
// hands the text to the reader also moves the position in that page, in the kernel, so that no kill comes between the two. Where
// that call does not work, the position is moved just after the write has returned.
package ledger

import (
	"errors"
	"io"
	"os"
	"sync/atomic"

	"github.com/byway-chat/byway/cmd/internal/terminal"
)

// Mark names a message: its place in the history of a home, which only rises, and its id (at most 47 bytes count). The zero Mark names none.
type Mark struct {
	Order int64
	ID    string
}

// Options is what Open needs.
type Options struct {
	Out    io.Writer // where messages are printed
	Dirs   []string  // directories in volatile memory, the best first (see Dirs); none: only this process remembers
	Home   string    // the home whose messages are printed
	Device string    // who they are for; a home that has been set up anew is another
}

// Ledger prints messages on one stream. It is for one goroutine at a time.
type Ledger struct {
	sink  sink
	page  *page
	paper *paper // holds page; nil: page is plain memory
}

// sink hands text to the reader of the stream.
type sink interface {
	// prepare makes text ready and returns the position at which it begins, as put counts it.
	prepare(text []byte) (start int64, err error)
	// put hands over text and moves *pos on by what was taken. It may be called again with what is left.
	put(text []byte, pos *int64) error
}

// Open finds out what was printed last for this home, by this ledger's predecessors and by those of other running faces. A home
// without a usable directory is no error: the ledger then remembers only while the process runs (Survives).
func Open(o Options) (*Ledger, error) {
	l := &Ledger{sink: &plain{w: o.Out}}
	found := recall(o)
	l.paper, l.page = newPaper(o, found.last)
	found.forget(l.paper != nil)
	out, ok := o.Out.(*os.File)
	if !ok {
		return l, nil
	}
	l.sink = l.page.sinkFor(out)
	if found.tornOn(l.page) {
		// The reader has the beginning of a line and must not take the next one for its end.
		if _, err := out.WriteString("\n"); err != nil {
			return nil, errors.Join(terminal.Unwritten(err), l.Close(false))
		}
	}
	return l, nil
}

// Last returns the newest message that was printed for this home as far as is known.
func (l *Ledger) Last() Mark { return l.page.newest() }

// Survives reports whether the memory outlives a killed process.
func (l *Ledger) Survives() bool { return l.paper != nil }

// Print prints one message, whole, and remembers it. A text of at most 4,096 bytes is taken by a pipe whole or not at all.
func (l *Ledger) Print(text []byte, m Mark) error {
	start, err := l.sink.prepare(text)
	if err != nil {
		return err
	}
	a := l.page.begin(text, start, m)
	return terminal.Unwritten(l.sink.put(text, &a.pos))
}

// Printed remembers a message that the caller has printed itself.
func (l *Ledger) Printed(m Mark) { atomic.StoreInt64(&l.page.begin(nil, 0, m).pos, 1) }

// Close ends the ledger. With settled, what it knew is on the disk, and its file is taken away; else the next one finds it.
func (l *Ledger) Close(settled bool) error {
	var errs []error
	if c, ok := l.sink.(io.Closer); ok {
		errs = append(errs, c.Close())
	}
	if l.paper != nil {
		errs = append(errs, l.paper.close(settled))
	}
	l.sink, l.page, l.paper = &plain{w: io.Discard}, new(page), nil
	return errors.Join(errs...)
}

// plain writes and counts what the writer has taken. A kill between the two leaves a message printed and not remembered.
type plain struct{ w io.Writer }

func (p *plain) prepare([]byte) (int64, error) { return 0, nil }

func (p *plain) put(text []byte, pos *int64) error {
	n, err := p.w.Write(text)
	atomic.AddInt64(pos, int64(n))
	return err
}
