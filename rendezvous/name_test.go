package rendezvous

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestParseUsernameAccepts(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "alice", "alice"},
		{"upper case", "Alice", "alice"},
		{"full width", "ａｌｉｃｅ", "alice"},
		{"full width upper case", "ＡＬＩＣＥ", "alice"},
		{"decomposed accent", "rene\u0301e", "renée"},
		{"digits and separators", "anna.b_c-2", "anna.b_c-2"},
		{"leading underscore", "_anna", "_anna"},
		{"digits alone", "4711", "4711"},
		{"one character", "x", "x"},
		{"32 characters", strings.Repeat("a", 32), strings.Repeat("a", 32)},
		{"32 wide characters", strings.Repeat("あ", 32), strings.Repeat("あ", 32)},
		{"32 decomposed", strings.Repeat("e\u0301", 32), strings.Repeat("é", 32)},
		{"sharp s", "Straße", "straße"},
		{"dotted capital I", "İnci", "i\u0307nci"},
		{"Cyrillic", "Наташа", "наташа"},
		{"Greek capitals", "ΝΊΚΟΣ", "νίκοσ"},
		{"Japanese", "さくら田ー", "さくら田ー"},
		{"both Kana and Han", "カタかな漢字", "カタかな漢字"},
		{"Korean with Han", "김金", "김金"},
		{"Arabic", "سلام", "سلام"},
		{"Hebrew", "שלום", "שלום"},
		{"Devanagari with signs", "हिन्दी", "हिन्दी"},
		{"Devanagari digits", "राम१२", "राम१२"},
		{"Yoruba mark on mark", "ẹ́lẹ́", "ẹ́lẹ́"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseUsername(tc.in)
			if err != nil {
				t.Fatalf("ParseUsername(%q): %v", tc.in, err)
			}
			if string(got) != tc.want {
				t.Errorf("ParseUsername(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func TestParseUsernameRefuses(t *testing.T) {
	for _, tc := range []struct{ name, in, says string }{
		{"empty", "", "empty"},
		{"Cyrillic first letter", "\u0430lice", "mixes scripts"},
		{"Greek among Latin", "b\u03bfb", "mixes scripts"},
		{"Latin and Han", "li李", "mixes scripts"},
		{"Kana and Hangul", "あ김", "mixes scripts"},
		{"Bopomofo and Kana through Han", "ㄅ漢あ", "mixes scripts"},
		{"right-to-left override", "ali\u202ece", "invisible"},
		{"zero width joiner", "ali\u200dce", "invisible"},
		{"zero width space", "ali\u200bce", "invisible"},
		{"byte order mark", "\ufeffalice", "invisible"},
		{"soft hyphen", "ali\u00adce", "invisible"},
		{"grapheme joiner", "ali\u034fce", "invisible"},
		{"variation selector", "alice\ufe0f", "invisible"},
		{"Hangul filler", "\u3164", "invisible"},
		{"half-width filler", "\uffa0", "invisible"},
		{"tag character", "alice\U000e0041", "invisible"},
		{"escape", "ali\x1bce", "control"},
		{"NUL", "ali\x00ce", "control"},
		{"DEL", "ali\x7fce", "control"},
		{"C1", "ali\u009bce", "control"},
		{"raw C1", "ali\x9bce", "UTF-8"},
		{"overlong slash", "ali\xc0\xafce", "UTF-8"},
		{"trailing space", "alice ", "spaces"},
		{"inner space", "al ice", "spaces"},
		{"no-break space", "al\u00a0ice", "spaces"},
		{"newline", "alice\n", "spaces"},
		{"colon", "alice:", `':' is not allowed`},
		{"leading hyphen", "-alice", "begin with"},
		{"leading dot", ".alice", "begin with"},
		{"leading at", "@alice", "not allowed"},
		{"leading slash", "/alice", "not allowed"},
		{"path", "../alice", "begin with"},
		{"full-width slash", "a／b", "not allowed"},
		{"emoji", "alice😀", "not allowed"},
		{"middle dot", "a·b", "not allowed"},
		{"modifier apostrophe", "o\u02bcneil", "not allowed"},
		{"ligature", "ﬁlip", "not allowed"},
		{"only separators", "_._", "at least one letter"},
		{"mark alone", "\u0301a", "not allowed"},
		{"mark on separator", "a_\u0301b", "combining mark"},
		{"piled marks", "a\u0316\u0317\u0318\u0319", "combining mark"},
		{"two kinds of digits", "१1", "two kinds"},
		{"prolonged sound in Latin", "aー", "mixes scripts"},
		{"left to right in right to left", "שa", "not allowed"},
		{"33 characters", strings.Repeat("a", 33), "33 characters"},
		{"300 bytes", strings.Repeat("a", 300), "too long"},
		{"300 bytes of marks", "a" + strings.Repeat("\u0301", 150), "too long"},
		{"reserved", "admin", "reserved"},
		{"reserved in capitals", "ROOT", "reserved"},
		{"reserved lookalike with a zero", "r00t", "reserved"},
		{"reserved lookalike with rn", "adrnin", "reserved"},
		{"reserved system", "rendezvous", "reserved"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseUsername(tc.in)
			if err == nil {
				t.Fatalf("ParseUsername(%q) = %q, want an error", tc.in, got)
			}
			if code := CodeOf(err); code != CodeNameNotAllowed {
				t.Errorf("code %q, want %q", code, CodeNameNotAllowed)
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %q, want it to say %q", err, tc.says)
			}
			if !printable(err.Error()) {
				t.Errorf("the error is not fit for a terminal: %q", err)
			}
		})
	}
}

func TestSkeleton(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		same bool
	}{
		{"coco", "сосо", true}, // the second is Cyrillic throughout
		{"modem", "modern", true},
		{"b0b", "bob", true},
		{"bill", "bi11", true},
		{"νίκος", "ΝΊΚΟΣ", true}, // the capital has no final form
		{"strasse", "straße", true},
		{"alice", "bob", false},
		{"anna", "anna2", false},
		{"anna", "änna", false},
	} {
		a, err := ParseUsername(tc.a)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ParseUsername(tc.b)
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Skeleton() == b.Skeleton(); got != tc.same {
			t.Errorf("skeletons of %q (%q) and %q (%q) equal: %v, want %v", a, a.Skeleton(), b, b.Skeleton(), got, tc.same)
		}
	}
	// What single-script checking refuses would also have met the skeleton of the name it imitates.
	if Username("\u0430lice").Skeleton() != Username("alice").Skeleton() {
		t.Error("Cyrillic alice has a skeleton of its own")
	}
}

func printable(s string) bool {
	for _, r := range s {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

func FuzzParseUsername(f *testing.F) {
	for _, s := range []string{"alice", "ａｌｉｃｅ", "\u0430lice", "İ", "ẞ", "हिन्दी", "さくら", "a\u0345", "\u1e9e\u0307", "שלום1", "x\x1b[2J", "\xff", "a:b", "ΣΣ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseUsername(s)
		if err != nil {
			if CodeOf(err) != CodeNameNotAllowed || !printable(err.Error()) {
				t.Fatalf("ParseUsername(%q): bad error %q", s, err)
			}
			return
		}
		again, err := ParseUsername(string(u))
		if err != nil || again != u {
			t.Fatalf("not idempotent: %q gives %q gives %q, %v", s, u, again, err)
		}
		if n := utf8.RuneCountInString(string(u)); n < 1 || n > MaxUsername {
			t.Fatalf("%q has %d characters", u, n)
		}
		if !printable(string(u)) || strings.ContainsAny(string(u), " :/@\\\"'%") || strings.ContainsAny(string(u[:1]), ".-") {
			t.Fatalf("unclean name %q from %q", u, s)
		}
		if u.Skeleton() == "" {
			t.Fatalf("%q has no skeleton", u)
		}
	})
}

// TestPlainNamesNeedNoComparison wants the short way for plain letters to say what the long one says.
func TestPlainNamesNeedNoComparison(t *testing.T) {
	for r := rune(1); r < utf8.RuneSelf; r++ {
		name := "a" + string(r) + "1"
		if checkCharacters(name) != nil {
			continue // it never comes so far
		}
		if err := compareScripts(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}
