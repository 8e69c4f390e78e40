package doctor

import (
	"net/netip"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/byway-chat/byway/peer/trace"
)

// mask hides what does not belong into a public place. One with full hides nothing but invitations and what a terminal would obey.
type mask struct {
	full  bool
	paths *strings.Replacer
	names []string // of users and hosts, hidden where they stand as a word
	wrong string   // address of a rendezvous that nobody can read; empty: none
}

// homeName stands for the directory of the home: its path often has the name of a person in it.
const homeName = "<home>"

func newMask(cfg Config) *mask {
	pairs := []string{cfg.Home, homeName}
	if home, err := os.UserHomeDir(); err == nil && home != "/" && home != "" {
		pairs = append(pairs, home, "~")
	}
	return &mask{full: cfg.Full, paths: strings.NewReplacer(pairs...)}
}

// forget hides a name of a user or host from now on.
func (m *mask) forget(name string) {
	if name != "" {
		m.names = append(m.names, name)
	}
}

var (
	ipv4    = regexp.MustCompile(`\d{1,3}(\.\d{1,3}){3}`)
	ipv6    = regexp.MustCompile(`[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*`)
	peerIDs = regexp.MustCompile(`(12D3KooW|Qm|16Uiu2)[1-9A-HJ-NP-Za-km-z]{20,}`)
	hosts   = regexp.MustCompile(`/dns(addr|4|6)?/[^/ ]+`)
	links   = regexp.MustCompile(`byway://\S+`)
	quoted  = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
)

// hide returns a text without what is to be hidden, on one line and short.
func (m *mask) hide(s string) string {
	s = links.ReplaceAllString(s, "byway://…") // there may be a token in it
	s = quoted.ReplaceAllStringFunc(s, m.hideWrong)
	if m.full {
		return trace.Clean(s)
	}
	s = m.paths.Replace(s)
	s = peerIDs.ReplaceAllString(s, "$1…")
	s = hosts.ReplaceAllString(s, "/dns$1/…")
	s = ipv4.ReplaceAllStringFunc(s, address)
	s = ipv6.ReplaceAllStringFunc(s, address)
	for _, name := range m.names {
		s = word(s, name, "…")
	}
	return trace.Clean(s)
}

// hideWrong hides what is quoted from an address that is wrong: where something else was given as one, it may be an invitation too.
func (m *mask) hideWrong(quote string) string {
	if part, err := strconv.Unquote(quote); err == nil && part != "" && strings.Contains(m.wrong, part) {
		return `"…"`
	}
	return quote
}

// address hides a public address. One of a private network tells nobody where a person is.
func address(s string) string {
	a, rest, ok := find(s)
	if a = a.Unmap(); !ok || a.IsPrivate() || a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsMulticast() {
		return s
	}
	if a.Is4() {
		return "(public IPv4)" + rest
	}
	return "(public IPv6)" + rest
}

// find reads the address in what looks like one: a colon or full stop of the sentence may stand behind it, and before it a word that ends in letters of
// hexadecimal numbers, and a colon.
func find(s string) (a netip.Addr, rest string, ok bool) {
	for from := s; ; {
		for end := len(from); end > 0; end-- {
			if a, err := netip.ParseAddr(from[:end]); err == nil {
				return a, from[end:], true
			}
			if !strings.ContainsRune(":.", rune(from[end-1])) {
				break
			}
		}
		if _, from, ok = strings.Cut(from, ":"); !ok {
			return a, "", false
		}
	}
}

// word replaces a name where no letter or digit stands beside it.
func word(s, name, by string) string {
	re, err := regexp.Compile(`(?i)(^|[^\pL\pN._-])` + regexp.QuoteMeta(name) + `($|[^\pL\pN_-])`)
	if err != nil {
		return by // rather nothing than a name
	}
	for range 2 { // the second finds what has shared the space between with one before it
		s = re.ReplaceAllString(s, "${1}"+by+"${2}")
	}
	return s
}
