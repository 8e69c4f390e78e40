package terminal

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Printer writes what went wrong and what helps, in the one form that all our programs have. Its methods clean what they are given.
// Write errors are ignored: there is nobody left to tell.
type Printer struct {
	name string
	w    io.Writer
	utf8 bool
}

// NewPrinter makes a Printer for the program of the given name that writes to w, standard error as a rule. Utf8 says whether
// the reader of w understands UTF-8: see [UTF8].
func NewPrinter(name string, w io.Writer, utf8 bool) *Printer {
	return &Printer{name: name, w: w, utf8: utf8}
}

// Error prints "NAME: error: message".
func (p *Printer) Error(message string) { p.line("error", message) }

// Hint prints "NAME: hint: cure"; an empty cure prints nothing.
func (p *Printer) Hint(cure string) {
	if cure != "" {
		p.line("hint", cure)
	}
}

// Warning prints "NAME: warning: message": something that a person should know though the command goes on.
func (p *Printer) Warning(message string) { p.line("warning", message) }

func (p *Printer) line(kind, text string) {
	text = Clean(strings.TrimSpace(text))
	if !p.utf8 {
		text = ASCII(text)
	}
	_, _ = io.WriteString(p.w, p.name+": "+kind+": "+text+"\n")
}

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// WantsPlain reports whether the environment asks for plain lines: a terminal that can place no cursor (TERM empty, "dumb" or
// "unknown"), or a person who wants no colours (NO_COLOR set to anything).
func WantsPlain(getenv func(string) string) bool {
	switch getenv("TERM") {
	case "", "dumb", "unknown":
		return true
	}
	return getenv("NO_COLOR") != ""
}

// UTF8 reports whether the locale is a UTF-8 one: the first of LC_ALL, LC_CTYPE and LANG that is set decides, as in POSIX. Without any
// it is the C locale, which is not.
func UTF8(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
