package password

import (
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
)

const (
	// MinLength is the least number of characters of a new password.
	MinLength = 12
	// MaxLength is the most bytes of any password: enough for every sentence, too few to burden the hash.
	MaxLength = 1024

	minDistinct = 5 // characters; fewer is a pattern, not a password
	maxPeriod   = 8 // a unit of so many characters, repeated, is no longer password than the unit
)

var (
	// ErrTooWeak says in its chain's text what is missing, for the person who chose the password.
	ErrTooWeak = errors.New("password is too weak")
	// ErrInvalid means that the password is empty, too long, not UTF-8, or has characters that PRECIS OpaqueString does not admit.
	ErrInvalid = errors.New("password has characters that cannot be used")
)

// PrepareLogin brings a typed password to the one form that is hashed (PRECIS OpaqueString, RFC 8265: NFC, every space an ASCII one), so
// that two keyboards agree. It judges nothing. Its error wraps [ErrInvalid].
func PrepareLogin(password string) ([]byte, error) {
	if len(password) > MaxLength || !utf8.ValidString(password) {
		return nil, fmt.Errorf("prepare password of %d bytes: %w", len(password), ErrInvalid)
	}
	prepared, err := precis.OpaqueString.Bytes([]byte(password))
	if err != nil {
		return nil, fmt.Errorf("prepare password: %w", ErrInvalid)
	}
	return prepared, nil
}

// Prepare is PrepareLogin for a password that is being chosen by username: it must have MinLength characters, must not
// be a common password, however decorated, nor a mere pattern, nor the name. There are no other rules of composition. Its errors wrap
// [ErrTooWeak] and [ErrInvalid]; neither contains any of the password.
func Prepare(username, password string) ([]byte, error) {
	prepared, err := PrepareLogin(password)
	if err != nil {
		return nil, err
	}
	lower := strings.ToLower(string(prepared))
	switch {
	case utf8.RuneCount(prepared) < MinLength:
		return nil, fmt.Errorf("%w: use at least %d characters", ErrTooWeak, MinLength)
	case isPattern([]rune(lower)):
		return nil, fmt.Errorf("%w: it only repeats or counts", ErrTooWeak)
	case isWord(lower, func(word string) bool { return word == strings.ToLower(username) }):
		return nil, fmt.Errorf("%w: it is the user name", ErrTooWeak)
	case isWord(lower, func(word string) bool { return common()[word] }):
		return nil, fmt.Errorf("%w: it is among the most common ones", ErrTooWeak)
	}
	return prepared, nil
}

// isPattern reports whether there are few distinct characters, one short unit over and over, or a row like abcdef.
func isPattern(p []rune) bool {
	distinct := make(map[rune]bool)
	for _, r := range p {
		distinct[r] = true
	}
	if len(distinct) < minDistinct {
		return true
	}
	for period := 1; period <= maxPeriod && 2*period <= len(p); period++ {
		if steady(p, period) {
			return true
		}
	}
	up, down := true, true
	for i := range p[1:] {
		up = up && follows(p[i], p[i+1])
		down = down && follows(p[i+1], p[i])
	}
	return up || down
}

func steady(p []rune, period int) bool {
	for i := period; i < len(p); i++ {
		if p[i] != p[i-period] {
			return false
		}
	}
	return true
}

// follows reports whether b comes after a as on a row of digits or letters; rows begin again at their end.
func follows(a, b rune) bool {
	return b == a+1 || a == '9' && b == '0' || a == 'z' && b == 'a'
}

// isWord reports whether known holds the password, or the password less the digits and signs at its ends, or either with
// the usual digits and signs read as the letters they stand for.
func isWord(lower string, known func(string) bool) bool {
	for _, form := range []string{lower, plain.Replace(lower)} {
		core := strings.TrimFunc(form, func(r rune) bool { return !unicode.IsLetter(r) })
		if known(form) || known(core) {
			return true
		}
	}
	core := strings.TrimFunc(lower, func(r rune) bool { return !unicode.IsLetter(r) })
	return known(plain.Replace(core))
}

// plain undoes the substitutions that every guessing program tries first.
var plain = strings.NewReplacer("@", "a", "4", "a", "3", "e", "1", "i", "!", "i", "0", "o", "$", "s", "5", "s", "7", "t")

//go:embed common.txt
var commonText string

// common is the list of common.txt: words, one a line, lower case; lines that start with # are comments.
var common = sync.OnceValue(func() map[string]bool {
	words := make(map[string]bool)
	for line := range strings.Lines(commonText) {
		if word := strings.TrimSpace(line); word != "" && !strings.HasPrefix(word, "#") {
			words[word] = true
		}
	}
	return words
})
