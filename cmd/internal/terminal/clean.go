// Package terminal keeps what strangers write from doing anything to a person's terminal but be read. Everything that a program prints for people
// and that it did not write itself (names, messages, errors from the network, agents, file names) passes [Clean], or
// [CleanText] where it may have several lines. JSON needs neither: its encoder escapes.
//
// Dangerous characters are shown, not cut out: a control character becomes its picture (␛ for escape), so the rest of an escape sequence is
// harmless text that can be read, and nothing can be hidden behind an unfinished one. The package is also the house style
// of errors ([Printer]) and the answer to what a terminal can do.
package terminal

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// replacement stands for what has no picture.
const replacement = '\uFFFD'

// maxMarks is how many combining marks are kept on one character; more would grow over the lines around it.
const maxMarks = 4

// Clean returns s as one line that is safe on a UTF-8 terminal: valid UTF-8, no control character of C0, C1 or DEL, no line break, no
// character that changes the direction of writing or that cannot be seen. Joiners, variation selectors and soft hyphens, which ordinary texts
// and emoji contain, are left out; everything else that is dangerous is replaced visibly. Clean(Clean(s)) is Clean(s).
func Clean(s string) string { return clean(s, false) }

// CleanText is Clean for several lines: line feeds stay, CR LF becomes one.
func CleanText(s string) string { return clean(strings.ReplaceAll(s, "\r\n", "\n"), true) }

func clean(s string, lines bool) string {
	if isPlain(s, lines) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	marks := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size // an invalid byte, of an overlong form too, is U+FFFD of size 1
		if unicode.IsMark(r) {
			marks++
		} else if !isOrdinaryInvisible(r) {
			marks = 0
		}
		switch {
		case r == '\n' && lines:
			b.WriteByte('\n')
		case r == '\t' || unicode.Is(unicode.Zs, r):
			b.WriteByte(' ')
		case r < ' ':
			b.WriteRune('\u2400' + r)
		case r == '\x7f':
			b.WriteRune('\u2421')
		case isOrdinaryInvisible(r) || marks > maxMarks:
		case isShown(r):
			b.WriteRune(r)
		default:
			b.WriteRune(replacement)
		}
	}
	return b.String()
}

// isPlain reports whether s is printable ASCII, which most texts are.
func isPlain(s string, lines bool) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' || c > '~') && (c != '\n' || !lines) {
			return false
		}
	}
	return true
}

// isOrdinaryInvisible reports whether r is invisible and common in honest text: soft hyphen, joiners, variation selectors.
func isOrdinaryInvisible(r rune) bool {
	switch r {
	case '\u00ad', '\u200c', '\u200d':
		return true
	}
	return unicode.Is(unicode.Variation_Selector, r)
}

// isShown reports whether r has a shape of its own. That excludes what formats (direction, invisible operators, tags), what is
// blank without being a space, private use, and what Unicode has not assigned, except for the emoji to come.
func isShown(r rune) bool {
	if unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) {
		return false
	}
	return unicode.IsPrint(r) || 0x1f000 <= r && r <= 0x1faff
}

// ASCII returns s with everything beyond ASCII as \uXXXX or \UXXXXXXXX. It is for terminals that do not read UTF-8: some of them take
// the second half of its bytes for control characters. Line feeds stay; apply Clean or CleanText first.
func ASCII(s string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, r := range s {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			continue
		}
		prefix, width := `\u`, 4
		if r > 0xffff {
			prefix, width = `\U`, 8
		}
		b.WriteString(prefix)
		for shift := 4 * (width - 1); shift >= 0; shift -= 4 {
			b.WriteByte(digits[r>>shift&0xf])
		}
	}
	return b.String()
}
