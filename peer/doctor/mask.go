package doctor

import (
	"cmp"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/byway-chat/byway/peer/trace"
)

// mask hides what does not belong into a public place. One with full hides nothing but invitations and what a terminal would obey.
type mask struct {
	full     bool
	home     string
	personal string   // directory of the person who runs this; empty: none
	paths    []string // that errors have named, the longest first
	names    []string // of users and hosts, hidden where they stand as a word
	wrong    string   // address of a rendezvous that nobody can read; empty: none
}

// What stands in the place of a path, which often has the name of a person in it.
const (
	homeName     = "<home>"
	personalName = "~"
	somePath     = "(path)"
)

// homeFiles are the names in a home that are the same for everybody, and are shown.
var homeFiles = []string{"home.json", "keystore.age", "history.db", "history.db.journal", "lock", "byway.sock"}

func newMask(cfg Config) *mask {
	m := &mask{full: cfg.Full, home: cfg.Home}
	if dir, err := os.UserHomeDir(); err == nil && dir != "/" {
		m.personal = dir
	}
	return m
}

// forgetPaths hides the paths that are named by an error or by one that it wraps, also relative ones and those with spaces, from now on.
func (m *mask) forgetPaths(err error) {
	var named []string
	switch e := err.(type) { //nolint:errorlint // each error of the chain is looked at below
	case *fs.PathError:
		named = []string{e.Path}
	case *os.LinkError:
		named = []string{e.Old, e.New}
	case *exec.Error:
		named = []string{e.Name}
	case *net.OpError:
		for _, a := range []net.Addr{e.Source, e.Addr} {
			if unix, ok := a.(*net.UnixAddr); ok && unix != nil {
				named = append(named, unix.Name)
			}
		}
	}
	for _, path := range named {
		dir, name := cut(path)
		if path != "" && (dir != m.home || !slices.Contains(homeFiles, name)) && path != m.home {
			m.paths = append(m.paths, path)
		}
	}
	slices.SortFunc(m.paths, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	switch e := err.(type) { //nolint:errorlint // it is what looks at the chain
	case interface{ Unwrap() error }:
		if next := e.Unwrap(); next != nil {
			m.forgetPaths(next)
		}
	case interface{ Unwrap() []error }:
		for _, next := range e.Unwrap() {
			m.forgetPaths(next)
		}
	}
}

// cut returns the directory and the name of a path.
func cut(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
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
	// rooted is what looks like a path from the root, from the directory of a person or from the home, after what stands before it.
	rooted = regexp.MustCompile(`(^|[^\pL\pN_.~>/…-])((?:~|<home>)?/+[^\s"'` + "`" + `<>/…][^\s"'` + "`" + `<>]*)`)
	// multiaddr is what looks like such a path and is an address, or the length of a prefix.
	multiaddr = regexp.MustCompile(`^/\d{1,3}$|^/(ip4|ip6|ip6zone|dns|dns4|dns6|dnsaddr|p2p|tcp|udp)/[^/,;]+(/(ip4|ip6|tcp|udp|quic-v1|p2p|p2p-circuit|webtransport|certhash|ws|wss|tls)(/[^/,;]+)?)*$`)
)

// hide returns a text without what is to be hidden, on one line and short.
func (m *mask) hide(s string) string {
	s = links.ReplaceAllString(s, "byway://…") // there may be a token in it
	s = quoted.ReplaceAllStringFunc(s, m.hideWrong)
	if m.full {
		return trace.Clean(s)
	}
	s = m.hidePaths(s)
	s = peerIDs.ReplaceAllString(s, "$1…")
	s = hosts.ReplaceAllString(s, "/dns$1/…")
	s = ipv4.ReplaceAllStringFunc(s, address)
	s = ipv6.ReplaceAllStringFunc(s, address)
	for _, name := range m.names {
		s = word(s, name, "…")
	}
	return trace.Clean(s)
}

// hideWrong hides what is quoted from an address that is wrong: where something else was given as one, it may be an invitation too. A path in quotes may
// have spaces, so that only here it can be told from the sentence.
func (m *mask) hideWrong(quote string) string {
	part, err := strconv.Unquote(quote)
	switch {
	case err != nil || part == "":
	case strings.Contains(m.wrong, part):
		return `"…"`
	case !m.full && strings.HasPrefix(part, "/") && !multiaddr.MatchString(part):
		return `"` + somePath + `"`
	}
	return quote
}

// hidePaths hides those that errors have named, and as a last resort all that look like one from the root.
func (m *mask) hidePaths(s string) string {
	for _, path := range m.paths {
		s = word(s, path, somePath)
	}
	if m.home != "/" && m.home != "" {
		s = word(s, m.home, homeName)
	}
	if m.personal != "" {
		s = word(s, m.personal, personalName)
	}
	return rooted.ReplaceAllStringFunc(s, func(found string) string {
		parts := rooted.FindStringSubmatch(found)
		path := strings.TrimRight(parts[2], ".,:;()!?")
		rest := parts[2][len(path):]
		dir, name := cut(path)
		if multiaddr.MatchString(path) || dir == homeName && slices.Contains(homeFiles, name) {
			return found
		}
		return parts[1] + somePath + rest
	})
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
