package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/byway-chat/byway/cmd/internal/ledger"
	"github.com/byway-chat/byway/cmd/internal/terminal"
	"github.com/byway-chat/byway/peer"
)

// clean makes a stranger's text one harmless line.
func clean(s string) string { return terminal.Clean(s) }

// encode is text as the reader of standard output takes it: a terminal without UTF-8 gets ASCII, a file gets what was written.
func (p *program) encode(text string) string {
	if isTerminal(p.stdout) && !terminal.UTF8(p.getenv) {
		return terminal.ASCII(text)
	}
	return text
}

// complain writes an error and its cure to standard error.
func (p *program) complain(err error) {
	printer := terminal.NewPrinter("byway", p.stderr, !isTerminal(p.stderr) || terminal.UTF8(p.getenv))
	printer.Error(err.Error())
	if e, ok := errors.AsType[*peer.Error](err); ok {
		printer.Hint(e.Hint)
	}
}

// warn writes what a person should know to standard error.
func (p *program) warn(message string) {
	terminal.NewPrinter("byway", p.stderr, !isTerminal(p.stderr) || terminal.UTF8(p.getenv)).Warning(message)
}

// say writes one line for people to standard output.
func (p *program) say(format string, args ...any) error {
	return p.write(fmt.Sprintf(format, args...) + "\n")
}

// message prints a message so that it is remembered.
func (p *program) message(text string, m ledger.Mark) error {
	if p.book == nil || m.Order == 0 {
		return p.write(text)
	}
	return p.book.Print([]byte(p.encode(text)), m)
}

func (p *program) write(text string) error {
	_, err := io.WriteString(p.stdout, p.encode(text))
	return terminal.Unwritten(err)
}

// table writes rows of cells in columns.
func (p *program) table(rows [][]string) error {
	text, err := columns(rows)
	if err != nil {
		return err
	}
	return p.write(text)
}

// columns lays out rows of cells; each cell is cleaned.
func columns(rows [][]string) (string, error) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = clean(cell)
		}
		if _, err := fmt.Fprintln(w, strings.Join(cells, "\t")); err != nil {
			return "", fmt.Errorf("laying out a table: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return "", fmt.Errorf("laying out a table: %w", err)
	}
	return b.String(), nil
}

// marks are the signs before a state; under TERM=dumb and outside UTF-8 they are ASCII.
type marks struct{ stored, delivered, read, failed string }

func (p *program) marks() marks {
	if p.getenv("TERM") == "dumb" || !terminal.UTF8(p.getenv) {
		return marks{"+", "++", "++", "x"}
	}
	return marks{"✓", "✓✓", "✓✓", "✗"}
}

// messageLine is a received message in a chat: "bob (lan 2 ms): text". Further lines of the text are indented, so that none can pass for
// another person's message.
func messageLine(e *peer.Event) string { return messageHead(e) + indented(text(e.Body)) }

// messageInOneLine is the same for who reads a message a line: a line break is shown as other control characters are.
func messageInOneLine(e *peer.Event) string { return messageHead(e) + clean(unbroken(text(e.Body))) }

// unbroken makes each line break one character and takes those at the end away, which no message needs.
func unbroken(s string) string { return strings.TrimRight(strings.ReplaceAll(s, "\r\n", "\n"), "\n") }

// messageHead is what stands before a text. Whether the key is new is told on a line of its own, so that this one has the same form always.
func messageHead(e *peer.Event) string {
	how := string(e.Way)
	if d, ok := travelled(e); ok {
		how += " " + inWords(d)
	}
	from := clean(e.From)
	if e.To != "" { // written by ourselves on another device
		from += " -> " + clean(e.To)
	}
	return fmt.Sprintf("%s (%s): ", from, clean(how))
}

func text(body *string) string {
	if body == nil {
		return ""
	}
	return *body
}

// indented cleans a text of several lines and sets all but the first in by four spaces.
func indented(s string) string {
	return strings.ReplaceAll(strings.TrimRight(terminal.CleanText(s), "\n"), "\n", "\n    ")
}

// travelled is how long a message was under way.
func travelled(e *peer.Event) (time.Duration, bool) { return underWay(e.MS, e.Sent, e.Received) }

// underWay takes what was measured, else what the two clocks say, and nothing where they disagree.
func underWay(ms *float64, sent, received *time.Time) (time.Duration, bool) {
	if ms != nil {
		return milliseconds(*ms), true
	}
	if sent == nil || received == nil || received.Before(*sent) {
		return 0, false
	}
	return received.Sub(*sent), true
}

func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// inWords is a duration for people, with the digits that mean something.
func inWords(d time.Duration) string {
	switch {
	case d < 0:
		return "0 ms"
	case d < 10*time.Millisecond:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)), ".0") + " ms"
	case d < 10*time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

// when is a time for people, in their own zone.
func when(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }
