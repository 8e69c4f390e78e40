package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/byway-chat/byway/cmd/internal/ledger"
)

// maxChatLine is the longest line in bytes that the chat takes.
const maxChatLine = maxText + 256

// console is where a chat reads lines and prints them, in a pipe or at a terminal.
type console interface {
	// ReadLine returns a line without its end; io.EOF at the end of input, leave{} after Ctrl-C.
	ReadLine() (string, error)
	// Print writes whole lines; a line that is being typed is not torn.
	Print(text string) error
	// Message is Print of a message, which is remembered as printed.
	Message(text string, m ledger.Mark) error
	// Close gives the terminal back.
	Close() error
}

// newConsole is a line editor on a terminal that can do one, else plain lines.
func (p *program) newConsole(prompt string) (console, error) {
	in, ok := p.stdin.(*os.File)
	if !ok || !isTerminal(p.stdin) || !isTerminal(p.stdout) || p.getenv("TERM") == "dumb" || p.getenv("TERM") == "" {
		return newPipe(p.stdin, p.write, p.message), nil
	}
	return newEditor(in, p.stdout, p, prompt)
}

// pipe is a console of plain lines. Its reading goroutine ends with the input.
type pipe struct {
	input   chan inputLine
	stop    chan struct{}
	write   func(string) error
	message func(string, ledger.Mark) error

	mu     sync.Mutex // guards writing
	closed sync.Once
}

func newPipe(r io.Reader, write func(string) error, message func(string, ledger.Mark) error) *pipe {
	c := &pipe{input: make(chan inputLine), stop: make(chan struct{}), write: write, message: message}
	go readLines(r, maxChatLine, c.input, c.stop)
	return c
}

func (c *pipe) ReadLine() (string, error) {
	select {
	case line, ok := <-c.input:
		switch {
		case !ok:
			return "", io.EOF
		case line.err != nil:
			return "", fmt.Errorf("reading standard input: %w", line.err)
		case line.tooLong:
			return strings.Repeat("x", maxText+1), nil // refused like any text that is too long
		}
		return strings.TrimSuffix(string(line.text), "\r"), nil
	case <-c.stop:
		return "", io.EOF
	}
}

func (c *pipe) Print(text string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write(text)
}

func (c *pipe) Message(text string, m ledger.Mark) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.message(text, m)
}

func (c *pipe) Close() error {
	c.closed.Do(func() { close(c.stop) })
	return nil
}

// editor is a line editor on a terminal in raw mode.
type editor struct {
	term   *term.Terminal
	fd     int
	state  *term.State
	keys   *keys
	p      *program
	closed sync.Once
	err    error
}

func newEditor(in *os.File, out io.Writer, p *program, prompt string) (*editor, error) {
	fd := int(in.Fd())
	state, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("preparing the terminal: %w", err)
	}
	k := &keys{r: in, w: out}
	e := &editor{term: term.NewTerminal(k, prompt), fd: fd, state: state, keys: k, p: p}
	e.resize()
	e.term.SetBracketedPasteMode(true)
	if isTerminal(p.stderr) {
		p.logs.divert(e.Print)
	}
	return e, nil
}

// resize follows the window; before each line is soon enough for a prompt.
func (e *editor) resize() {
	if w, h, err := term.GetSize(e.fd); err == nil && w > 0 && h > 0 {
		_ = e.term.SetSize(w, h)
	}
}

func (e *editor) ReadLine() (string, error) {
	e.resize()
	line, err := e.term.ReadLine()
	switch {
	case errors.Is(err, term.ErrPasteIndicator):
		return line, nil
	case errors.Is(err, io.EOF) && e.keys.interrupted:
		return "", leave{}
	case err != nil && !errors.Is(err, io.EOF):
		return "", fmt.Errorf("reading from the terminal: %w", err)
	}
	return line, err
}

func (e *editor) Print(text string) error {
	if _, err := io.WriteString(e.term, e.p.encode(text)); err != nil {
		return fmt.Errorf("writing to the terminal: %w", err)
	}
	return nil
}

// Message remembers the message after the terminal has it: the editor redraws the line that is being typed around it, in several writes.
func (e *editor) Message(text string, m ledger.Mark) error {
	if err := e.Print(text); err != nil {
		return err
	}
	if e.p.book != nil && m.Order > 0 {
		e.p.book.Printed(m)
	}
	return nil
}

func (e *editor) Close() error {
	e.closed.Do(func() {
		e.p.logs.divert(nil)
		e.term.SetBracketedPasteMode(false)
		e.err = term.Restore(e.fd, e.state)
		_, _ = io.WriteString(e.keys.w, "\n")
	})
	return e.err
}

// keys tells Ctrl-C, which the line editor reports like the end of input.
type keys struct {
	r           io.Reader
	w           io.Writer
	interrupted bool // owned by the goroutine that reads lines
}

func (k *keys) Read(b []byte) (int, error) {
	n, err := k.r.Read(b)
	if bytes.IndexByte(b[:n], 0x03) >= 0 {
		k.interrupted = true
	}
	return n, err
}

func (k *keys) Write(b []byte) (int, error) { return k.w.Write(b) }
