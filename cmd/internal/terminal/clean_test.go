package terminal

import (
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// checkSafe fails if a terminal could do anything with s but show it.
func checkSafe(t *testing.T, s string, lines bool) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Fatalf("%q is not UTF-8", s)
	}
	for _, r := range s {
		switch {
		case r == '\n' && lines, r == ' ', r == replacement:
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Bidi_Control, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r),
			unicode.Is(unicode.Co, r), unicode.Is(unicode.Variation_Selector, r), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r):
			t.Fatalf("%q holds %U", s, r)
		}
	}
}

func TestCleanEveryByte(t *testing.T) {
	for c := range 256 {
		for _, s := range []string{
			string([]byte{byte(c)}),
			"a" + string([]byte{byte(c)}) + "b",
			string(rune(c)),                           // the same number as a code point, which for C1 is another encoding
			string([]byte{0xc0, byte(c)}),             // overlong where c is a continuation
			string([]byte{0xe0, 0x80, byte(c)}),       // longer
			string([]byte{0xf0, 0x80, 0x80, byte(c)}), // longest
			string([]byte{0xe2, byte(c)}),             // cut short
		} {
			for _, f := range []func(string) string{Clean, CleanText} {
				got := f(s)
				checkSafe(t, got, true)
				if got == "" && s != "\u00ad" {
					t.Errorf("%q vanishes", s)
				}
			}
			if strings.Contains(Clean(s), "\n") {
				t.Errorf("Clean(%q) has two lines", s)
			}
		}
	}
}

func TestClean(t *testing.T) {
	for _, tc := range []struct{ name, in, line, text string }{
		{"plain", "hello, world", "hello, world", ""},
		{"umlauts", "Grüße, 世界, नमस्ते, שלום", "Grüße, 世界, नमस्ते, שלום", ""},
		{"OSC 52, clipboard", "\x1b]52;c;cm0gLXJmIH4K\x07", "␛]52;c;cm0gLXJmIH4K␇", ""},
		{"OSC 8, link", "\x1b]8;;http://evil.test\x1b\\click\x1b]8;;\x1b\\", "␛]8;;http://evil.test␛\\click␛]8;;␛\\", ""},
		{"OSC 0, title", "\x1b]0;owned\x07", "␛]0;owned␇", ""},
		{"OSC unfinished", "\x1b]0;hidden", "␛]0;hidden", ""},
		{"OSC in C1", "\u009d0;owned\u009c", "�0;owned�", ""},
		{"CSI 6n, cursor report", "\x1b[6n", "␛[6n", ""},
		{"CSI 2J, erase", "\x1b[2J", "␛[2J", ""},
		{"CSI in raw C1", "\x9b2J", "�2J", ""},
		{"CSI in UTF-8 C1", "\u009b2J", "�2J", ""},
		{"CSI in overlong C1", "\xc0\x9b2J", "��2J", ""},
		{"DECRQSS", "\x1bP$qm\x1b\\", "␛P$qm␛\\", ""},
		{"DCS in C1", "\u0090$qm\u009c", "�$qm�", ""},
		{"APC, PM, SOS", "\x1b_a\x1b^b\x1bXc", "␛_a␛^b␛Xc", ""},
		{"ESC c, reset", "\x1bc", "␛c", ""},
		{"overlong escape", "\xc0\x9b\xe0\x80\x9b", "�����", ""},
		{"shift out", "\x0e\x0f", "␎␏", ""},
		{"NUL, BEL, BS, DEL", "a\x00\x07\b\x7fz", "a␀␇␈␡z", ""},
		{"carriage return", "error\rok   ", "error␍ok   ", ""},
		{"lines", "a\nb\r\nc", "a␊b␍␊c", "a\nb\nc"},
		{"tab", "a\tb", "a b", ""},
		{"vertical tab, form feed", "a\v\fb", "a␋␌b", ""},
		{"next line", "a\u0085b", "a�b", ""},
		{"line and paragraph separator", "a\u2028b\u2029c", "a�b�c", ""},
		{"right-to-left override", "txt.\u202eexe", "txt.�exe", ""},
		{"isolates and marks", "\u2066a\u2069\u200e\u200f\u061c", "�a����", ""},
		{"zero width space", "al\u200bice", "al�ice", ""},
		{"byte order mark, word joiner", "\ufeffa\u2060b", "�a�b", ""},
		{"Hangul fillers", "\u115f\u1160\u3164\uffa0", "����", ""},
		{"tags", "\U000e0041\U000e007f", "��", ""},
		{"grapheme joiner", "a\u034fb", "a�b", ""},
		{"emoji family", "👨\u200d👩\u200d👧 ❤\ufe0f", "👨👩👧 ❤", ""},
		{"emoji of a later Unicode", "\U0001fadf", "\U0001fadf", ""},
		{"soft hyphen", "Donau\u00addampf", "Donaudampf", ""},
		{"odd spaces", "a\u00a0b\u3000c\u2003d", "a b c d", ""},
		{"private use, surrogate, noncharacter", "\ue000\xed\xa0\x80\uffff\U0010ffff", "������", ""},
		{"an accent", "e\u0301", "e\u0301", ""},
		{"piled accents", "e" + strings.Repeat("\u0301", 9) + "x", "e" + strings.Repeat("\u0301", 4) + "x", ""},
		{"accents piled behind joiners", "e" + strings.Repeat("\u0301\u200d", 9), "e" + strings.Repeat("\u0301", 4), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Clean(tc.in); got != tc.line {
				t.Errorf("Clean(%q) = %q, want %q", tc.in, got, tc.line)
			}
			want := tc.text
			if want == "" {
				want = tc.line
			}
			if got := CleanText(tc.in); got != want {
				t.Errorf("CleanText(%q) = %q, want %q", tc.in, got, want)
			}
		})
	}
}

func TestASCII(t *testing.T) {
	for in, want := range map[string]string{
		"plain\nlines":  "plain\nlines",
		"é":             `\u00e9`,
		"世":             `\u4e16`,
		"😀":             `\U0001f600`,
		Clean("\x1b[m"): `\u241b[m`,
	} {
		if got := ASCII(in); got != want {
			t.Errorf("ASCII(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPrinter(t *testing.T) {
	var b strings.Builder
	p := NewPrinter("byway", &b, true)
	p.Error("cannot reach böb\x1b[2J\nbyway: error: forged")
	p.Hint("")
	p.Hint("try again\n")
	NewPrinter("rendezvous", &b, false).Error("böb")
	want := "byway: error: cannot reach böb␛[2J␊byway: error: forged\nbyway: hint: try again\nrendezvous: error: b\\u00f6b\n"
	if got := b.String(); got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func TestEnvironment(t *testing.T) {
	for _, tc := range []struct {
		env         string
		plain, utf8 bool
	}{
		{"", true, false},
		{"TERM=dumb LANG=C.UTF-8", true, true},
		{"TERM=unknown LANG=C", true, false},
		{"TERM=xterm-256color LANG=en_US.utf8", false, true},
		{"TERM=xterm NO_COLOR=1 LC_ALL=C LANG=en_US.UTF-8", true, false},
		{"TERM=xterm NO_COLOR= LC_CTYPE=UTF-8 LANG=C", false, true},
		{"TERM=vt100 LANG=de_DE.ISO-8859-1", false, false},
	} {
		env := map[string]string{}
		for _, f := range strings.Fields(tc.env) {
			k, v, _ := strings.Cut(f, "=")
			env[k] = v
		}
		getenv := func(k string) string { return env[k] }
		if got := fmt.Sprint(WantsPlain(getenv), UTF8(getenv)); got != fmt.Sprint(tc.plain, tc.utf8) {
			t.Errorf("%q: plain and UTF-8 are %s, want %v %v", tc.env, got, tc.plain, tc.utf8)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, s := range []string{"a", "\x1b]52;c;\x07", "\x9b", "\u202e", "\xc0\x9b", "e\u0301\u200d\u0301", "a\r\nb", "\r\r\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line, text := Clean(s), CleanText(s)
		checkSafe(t, line, false)
		checkSafe(t, text, true)
		if again := Clean(line); again != line {
			t.Fatalf("Clean(%q) = %q and then %q", s, line, again)
		}
		if again := CleanText(text); again != text {
			t.Fatalf("CleanText(%q) = %q and then %q", s, text, again)
		}
		for _, c := range []byte(ASCII(text)) {
			if (c < ' ' && c != '\n') || c > '~' {
				t.Fatalf("ASCII(%q) holds byte %#x", text, c)
			}
		}
	})
}
