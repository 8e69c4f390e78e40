package rendezvous

import (
	"unicode"
	"unicode/utf8"

	"go.mau.fi/util/confusable"
	"golang.org/x/text/cases"
	"golang.org/x/text/secure/precis"
)

// Limits of names.
const (
	// MaxUsername is how many characters (code points, after mapping) a name may have.
	MaxUsername = 32
	// maxTypedName bounds in bytes what is looked at before it is mapped: 32 characters written in pieces fit.
	maxTypedName = 288
	// maxMarks is how many combining marks may follow one letter; the known orthographies need no more.
	maxMarks = 3
)

// Username is a name in its canonical form, as [ParseUsername] returns it: lower case, composed, of one script. Two names are
// the same account exactly if they are equal. It holds only letters, their marks, digits and ". _ -", so it may be
// printed as it is.
type Username string

// ParseUsername maps s to its canonical name or says, as an *[Error] of [CodeNameNotAllowed], what is wrong and what to do.
//
// The mapping is PRECIS UsernameCaseMapped (RFC 8265): full-width forms become ordinary ones, letters lower case, NFC. On top of it a
// name has 1 to 32 characters, begins with a letter, a digit or "_", holds a letter or digit, and uses one script: its letters are
// of one script together with "." "_" "-" and one set of decimal digits. As in UTS #39 (Single Script), Han
// counts as one script with the Kana (Japanese), with Hangul (Korean) or with Bopomofo (Chinese); Latin is never mixed with
// another. Names that look like those of the system or its operator are reserved.
func ParseUsername(s string) (Username, error) {
	u, err := parseName(s)
	if err != nil {
		return "", err
	}
	if reserved[u.Skeleton()] {
		return "", nameError("the name %q is reserved, or looks like a reserved one; choose another", u)
	}
	return u, nil
}

// CheckNameForm says what is wrong with the form of a name, as ParseUsername does. A reserved one has the form of a name, though nobody has it.
func CheckNameForm(s string) error {
	_, err := parseName(s)
	return err
}

func parseName(s string) (Username, error) {
	if s == "" {
		return "", nameError("the name is empty; give one of 1 to 32 letters and digits")
	}
	if len(s) > maxTypedName {
		return "", nameError("the name is too long; at most %d characters are allowed", MaxUsername)
	}
	if !utf8.ValidString(s) {
		return "", nameError("the name is not valid UTF-8; set the terminal to UTF-8 or use plain letters")
	}
	if err := checkTyped(s); err != nil {
		return "", err
	}
	name, err := mapName(s)
	if err != nil {
		return "", err
	}
	if err := checkCharacters(name); err != nil {
		return "", err
	}
	if err := checkScripts(name); err != nil {
		return "", err
	}
	return Username(name), nil
}

// Skeleton returns what u looks like: the skeleton of UTS #39 over the canonical name, case folded before it so that both
// forms of sigma meet, and after it so that "0" and "o" do. Two names with one skeleton can be mistaken for each other, so a directory admits only one of them. It is for
// comparing, never for showing, and changes when the table of confusables does.
func (u Username) Skeleton() string {
	fold := cases.Fold()
	return fold.String(confusable.Skeleton(fold.String(string(u))))
}

func nameError(format string, args ...any) *Error {
	return Errorf(CodeNameNotAllowed, format, args...)
}

// mapName applies the profile until it changes nothing: RFC 8264 section 7 warns that one application is not always stable.
func mapName(s string) (string, error) {
	for range 4 {
		mapped, err := precis.UsernameCaseMapped.String(s)
		if err != nil {
			return "", nameError("the name holds characters that are not allowed in names; use letters and digits of one script")
		}
		if mapped == s {
			return s, nil
		}
		s = mapped
	}
	return "", nameError("the name has no stable form; use plain letters and digits")
}

// checkTyped refuses, with a message of its own, what PRECIS would refuse without saying why.
func checkTyped(s string) error {
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			return nameError(`names have no spaces; use "." "_" or "-" between words`)
		case unicode.IsControl(r):
			return nameError("the name holds a control character (U+%04X); type it anew", r)
		case unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) ||
			unicode.Is(unicode.Variation_Selector, r):
			return nameError("the name holds an invisible character (U+%04X); type it anew instead of pasting", r)
		}
	}
	return nil
}

// checkCharacters keeps letters, marks, decimal digits and ". _ -", in places where they cannot be misread.
func checkCharacters(name string) error {
	if n := utf8.RuneCountInString(name); n > MaxUsername {
		return nameError("the name has %d characters; at most %d are allowed", n, MaxUsername)
	}
	marks, solid := 0, false
	for i, r := range name {
		switch {
		case unicode.IsLetter(r) || unicode.Is(unicode.Nd, r):
			marks, solid = 0, true
		case unicode.IsMark(r):
			marks++
			if i == 0 || !solid || marks > maxMarks {
				return nameError("the name has a combining mark (U+%04X) without a letter, or too many on one; leave it out", r)
			}
		case r == '_', r == '.' && i > 0, r == '-' && i > 0:
			marks = maxMarks
		case r == '.' || r == '-':
			return nameError("names do not begin with %q; begin with a letter or digit", r)
		default:
			return nameError(`the character %q is not allowed in names; use letters, digits, "." "_" and "-"`, r)
		}
	}
	if !solid {
		return nameError("the name needs at least one letter or digit")
	}
	return nil
}

// scriptSet is a set of writing systems; a name is of one script if the sets of its characters have a common member.
type scriptSet map[string]bool

// writingSystems lists the scripts that are members of more than themselves: the augmented sets of UTS #39 section 5.1.
var writingSystems = map[string]scriptSet{
	"Han":      {"Han": true, "Japanese": true, "Korean": true, "Chinese": true},
	"Hiragana": {"Japanese": true},
	"Katakana": {"Japanese": true},
	"Hangul":   {"Korean": true},
	"Bopomofo": {"Chinese": true},
}

// prolongedSound is the one letter of no script that names need: ー is a letter of both Kana.
const prolongedSound = 'ー'

func checkScripts(name string) error {
	if isASCII(name) {
		return nil // its letters are Latin, its digits of one set: most names, and each message begins with one
	}
	return compareScripts(name)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// compareScripts looks at each character.
func compareScripts(name string) error {
	var common scriptSet
	var first rune // the first letter, for the message
	var zero rune  // the digit zero of the set in use; 0 before the first digit
	for _, r := range name {
		if z := zeroOf(r); z != 0 {
			if zero != 0 && z != zero {
				return nameError("the name mixes digits of two kinds (%q); use one kind", r)
			}
			zero = z
		}
		set, ok := scriptsOf(r)
		if !ok {
			return nameError("the character %q is not allowed in names; use letters and digits of one script", r)
		}
		if set == nil {
			continue
		}
		if common == nil {
			common, first = set, r
			continue
		}
		if common = intersect(common, set); len(common) == 0 {
			return nameError("the name mixes scripts: %q and %q (U+%04X) may look like another name; use letters of one script", first, r, r)
		}
	}
	return nil
}

// scriptsOf returns nil and true for what goes with every script, and false for letters that belong to none.
func scriptsOf(r rune) (scriptSet, bool) {
	if r == prolongedSound {
		return scriptSet{"Japanese": true}, true
	}
	if unicode.In(r, unicode.Common, unicode.Inherited) {
		return nil, !unicode.IsLetter(r)
	}
	for script, table := range unicode.Scripts {
		if !unicode.Is(table, r) {
			continue
		}
		if set, ok := writingSystems[script]; ok {
			return set, true
		}
		return scriptSet{script: true}, true
	}
	return nil, false
}

func intersect(a, b scriptSet) scriptSet {
	both := scriptSet{}
	for s := range a {
		if b[s] {
			both[s] = true
		}
	}
	return both
}

// zeroOf returns the zero of the decimal digits that r belongs to, and 0 if r is no digit. Unicode lays each set out as ten
// characters in a row.
func zeroOf(r rune) rune {
	for _, rg := range unicode.Nd.R16 {
		if lo := rune(rg.Lo); lo <= r && r <= rune(rg.Hi) {
			return lo + (r-lo)/10*10
		}
	}
	for _, rg := range unicode.Nd.R32 {
		if lo := rune(rg.Lo); lo <= r && r <= rune(rg.Hi) {
			return lo + (r-lo)/10*10
		}
	}
	return 0
}

// reserved holds the skeletons of names that a person could take for the system or for the one who runs it, and of words with a
// meaning in the programs.
var reserved = skeletons(
	"abuse", "admin", "administrator", "all", "anonymous", "bot", "byway", "daemon", "everyone", "guest", "help", "here", "host",
	"hostmaster", "info", "localhost", "mailbox", "me", "moderator", "nobody", "noreply", "no-reply", "null", "official", "operator", "ops",
	"peer", "postmaster", "relay", "rendezvous", "root", "security", "self", "server", "service", "staff", "superuser", "support", "sysadmin", "system",
	"undefined", "unknown", "webmaster", "you",
)

func skeletons(names ...Username) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n.Skeleton()] = true
	}
	return m
}
