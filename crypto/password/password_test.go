package password_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/byway-chat/byway/crypto/password"
)

// tiny keeps tests fast; everything but the cost is as in Default.
var tiny = password.Params{MemoryKiB: 64, Time: 1, Threads: 1}

func TestHashAndVerify(t *testing.T) {
	phc, err := password.Hash([]byte("right"), tiny)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(phc, "$argon2id$v=19$m=64,t=1,p=1$") {
		t.Errorf("record %s", phc)
	}
	if again, _ := password.Hash([]byte("right"), tiny); again == phc {
		t.Error("two hashes under one salt")
	}
	dearer := password.Params{MemoryKiB: 64, Time: 2, Threads: 1}
	tests := []struct {
		name         string
		params       password.Params
		phc          string
		password     string
		ok, rehash   bool
		wantBadError bool
	}{
		{name: "right", params: tiny, phc: phc, password: "right", ok: true},
		{name: "wrong", params: tiny, phc: phc, password: "wrong"},
		{name: "empty", params: tiny, phc: phc, password: ""},
		{name: "right, other cost", params: dearer, phc: phc, password: "right", ok: true, rehash: true},
		{name: "wrong, other cost", params: dearer, phc: phc, password: "wrong"},
		{name: "dummy", params: tiny, phc: password.Dummy(tiny), password: "right"},
		{name: "no record", params: tiny, phc: "right", password: "right", wantBadError: true},
	}
	for _, tc := range tests {
		ok, rehash, err := tc.params.Verify(tc.phc, []byte(tc.password))
		if ok != tc.ok || rehash != tc.rehash || errors.Is(err, password.ErrBadRecord) != tc.wantBadError {
			t.Errorf("%s: got %v %v %v, want %v %v", tc.name, ok, rehash, err, tc.ok, tc.rehash)
		}
	}
}

// TestForeignRecord opens a record that the C library libargon2 (2017-12-27) made.
func TestForeignRecord(t *testing.T) {
	const phc = "$argon2id$v=19$m=64,t=3,p=2$c29tZXNhbHRzb21lc2FsdA$1fk3Ftri/q8aMgpw1zaGtJ9vQcL2KGQ0LzNff0IbaP0"
	if ok, _, err := password.Default.Verify(phc, []byte("three green owls")); !ok || err != nil {
		t.Errorf("got %v and %v", ok, err)
	}
}

func TestProfiles(t *testing.T) {
	for name, params := range map[string]password.Params{"default": password.Default, "small": password.Small} {
		phc, err := password.Hash([]byte("a password"), params)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := password.Describe(phc), "argon2id "+params.String(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		ok, rehash, err := password.Default.Verify(phc, []byte("a password"))
		if !ok || err != nil || rehash != (params != password.Default) {
			t.Errorf("%s: %v %v %v", name, ok, rehash, err)
		}
	}
	if got := password.Describe("x"); got != "unreadable" {
		t.Errorf("described as %q", got)
	}
}

func TestBadParams(t *testing.T) {
	for _, p := range []password.Params{
		{},
		{MemoryKiB: 64, Time: 1},
		{MemoryKiB: 64, Threads: 1},
		{MemoryKiB: 7, Time: 1, Threads: 1},
		{MemoryKiB: 1<<20 + 1, Time: 1, Threads: 1},
		{MemoryKiB: 64, Time: 65, Threads: 1},
		{MemoryKiB: 4096, Time: 1, Threads: 65},
	} {
		if _, err := password.Hash([]byte("x"), p); !errors.Is(err, password.ErrBadParams) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

const (
	salt = "AAAAAAAAAAAAAAAAAAAAAA"
	tag  = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

func TestBadRecords(t *testing.T) {
	good := "$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + tag
	if _, _, err := password.Default.Verify(good, nil); err != nil {
		t.Fatalf("before any damage: %v", err)
	}
	replace := func(from, to string) string { return strings.Replace(good, from, to, 1) }
	for name, phc := range map[string]string{
		"empty":          "",
		"other hash":     replace("argon2id", "argon2i"),
		"other version":  replace("v=19", "v=16"),
		"100 GiB":        replace("m=64", "m=104857600"),
		"over 32 bits":   replace("m=64", "m=4294967360"),
		"too many steps": replace("t=1", "t=4294967295"),
		"256 lanes":      replace("p=1", "p=257"),
		"no lanes":       replace("p=1", "p=0"),
		"negative":       replace("t=1", "t=-1"),
		"plus":           replace("t=1", "t=+1"),
		"leading zero":   replace("t=1", "t=01"),
		"order":          replace("m=64,t=1", "t=1,m=64"),
		"one more field": replace("p=1", "p=1,x=1"),
		"one field less": replace(",p=1", ""),
		"short salt":     replace(salt, salt[4:]),
		"no salt":        replace(salt, ""),
		"short tag":      replace(tag, tag[4:]),
		"line break":     replace(salt, salt[:4]+"\n"+salt[4:]),
		"loose bits":     replace(tag, tag[:42]+"B"),
		"padded base64":  good + "=",
		"one part more":  good + "$",
		"over the limit": good + strings.Repeat("A", 300),
	} {
		if _, _, err := password.Default.Verify(phc, nil); !errors.Is(err, password.ErrBadRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPrepare(t *testing.T) {
	tests := []struct {
		name, password string
		want           error
	}{
		{"good", "three green owls", nil},
		{"good, of one word and more", "alice-password-12", nil},
		{"good, of digits", "402817365921", nil},
		{"good, in another script", "ворона летит над рекой", nil},
		{"twelve characters, not bytes", "äöüßéèêàáâñç", nil},
		{"eleven characters", "three owls!", password.ErrTooWeak},
		{"eleven characters in many bytes", "äöüßéèêàáâñ", password.ErrTooWeak},
		{"common", "qwertyuiopasdf", password.ErrTooWeak},
		{"common, decorated", "password2026!", password.ErrTooWeak},
		{"common, in capitals", "ADMINISTRATOR", password.ErrTooWeak},
		{"common, leet", "P@ssw0rd2026!", password.ErrTooWeak},
		{"common, leet at its start", "4dm1n1str4t0r", password.ErrTooWeak},
		{"one character", "aaaaaaaaaaaaaaaa", password.ErrTooWeak},
		{"two characters", "abababababababab", password.ErrTooWeak},
		{"one unit", "owlbark1owlbark1owlbark1", password.ErrTooWeak},
		{"counting up", "4567890123456", password.ErrTooWeak},
		{"counting down", "9876543210987", password.ErrTooWeak},
		{"alphabet", "klmnopqrstuvw", password.ErrTooWeak},
		{"the name", "margaret.hale", password.ErrTooWeak},
		{"the name, decorated", "margaret.hale1999", password.ErrTooWeak},
		{"the name in capitals", "Margaret.Hale", password.ErrTooWeak},
		{"empty", "", password.ErrInvalid},
		{"control character", "three green\x07owls", password.ErrInvalid},
		{"not UTF-8", "three green \xff owls", password.ErrInvalid},
		{"too long", strings.Repeat("owl ", 300), password.ErrInvalid},
	}
	for _, tc := range tests {
		got, err := password.Prepare("margaret.hale", tc.password)
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
		if err == nil && string(got) != tc.password {
			t.Errorf("%s: prepared to %q", tc.name, got)
		}
		if err != nil && len(tc.password) > 2 && strings.Contains(err.Error(), tc.password) {
			t.Errorf("%s: the error holds the password: %v", tc.name, err)
		}
	}
}

func TestPrepareLogin(t *testing.T) {
	tests := []struct{ name, typed, want string }{
		{"short is no matter", "x", "x"},
		{"composed", "o\u0308l", "öl"},
		{"every space is one space", "a\u3000b\u00a0c", "a b c"},
		{"case is kept", "ABC", "ABC"},
		{"width is kept", "ＡＢ", "ＡＢ"},
	}
	for _, tc := range tests {
		if got, err := password.PrepareLogin(tc.typed); err != nil || string(got) != tc.want {
			t.Errorf("%s: got %q and %v, want %q", tc.name, got, err, tc.want)
		}
	}
	if _, err := password.PrepareLogin("a\x00"); !errors.Is(err, password.ErrInvalid) {
		t.Errorf("NUL: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("$argon2id$v=19$m=64,t=1,p=1$" + salt + "$" + tag)
	f.Add(password.Dummy(tiny))
	f.Fuzz(func(t *testing.T, phc string) {
		// Describe parses as Verify does, without paying what the record asks for.
		if got := password.Describe(phc); got != "unreadable" && !strings.HasPrefix(phc, "$argon2id$v=19$"+strings.TrimPrefix(got, "argon2id ")+"$") {
			t.Errorf("%q described as %q", phc, got)
		}
	})
}

func FuzzPrepare(f *testing.F) {
	f.Add("alice", "three green owls")
	f.Add("", "pa\u0308ssword")
	f.Fuzz(func(t *testing.T, username, typed string) {
		got, err := password.Prepare(username, typed)
		if err != nil {
			return
		}
		again, err := password.PrepareLogin(string(got))
		if err != nil || string(again) != string(got) {
			t.Errorf("%q becomes %q, then %q and %v", typed, got, again, err)
		}
	})
}
