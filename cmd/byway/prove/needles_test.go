package prove_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io/fs"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/cmd/byway/stage"
	"github.com/byway-chat/byway/crypto/identity"
)

// needles are what is searched for, by a name that may be printed.
type needles map[string][]byte

// in returns the names of those that stand in a haystack.
func (n needles) in(haystack []byte) []string {
	hits := map[string]int{}
	n.search().count(haystack, hits)
	return slices.Sorted(maps.Keys(hits))
}

// search is ready to look for hundreds of needles in one pass.
type search struct {
	needles needles
	known   [1 << 16]bool       // that a needle begins with these two bytes
	names   map[uint16][]string // of those that do
}

func (n needles) search() *search {
	s := &search{needles: n, names: map[uint16][]string{}}
	for name, needle := range n {
		head := uint16(needle[0])<<8 | uint16(needle[1])
		s.known[head] = true
		s.names[head] = append(s.names[head], name)
	}
	return s
}

// count adds to hits how often each stands in a haystack. The race detector would take most of the time, over bytes that only this goroutine has.
//
//go:norace
func (s *search) count(haystack []byte, hits map[string]int) {
	head := uint16(0)
	for i, b := range haystack {
		if head = head<<8 | uint16(b); i == 0 || !s.known[head] {
			continue
		}
		for _, name := range s.names[head] {
			if bytes.HasPrefix(haystack[i-1:], s.needles[name]) {
				hits[name]++
			}
		}
	}
}

func TestNeedles(t *testing.T) {
	n := needles{"a": []byte("abc"), "b": []byte("bcab"), "twice": []byte("ca"), "again": []byte("ca"), "absent": []byte("cb")}
	got := map[string]int{}
	n.search().count([]byte("abcabcab"), got)
	n.search().count([]byte("xabcx"), got)
	n.search().count([]byte("a"), got)
	n.search().count(nil, got)
	if diff := cmp.Diff(map[string]int{"a": 3, "b": 2, "twice": 2, "again": 2}, got); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
}

// merged is all of several.
func merged(all ...needles) needles {
	out := needles{}
	for _, n := range all {
		for name, needle := range n {
			out[name] = needle
		}
	}
	return out
}

// canary is a text that stands nowhere else in the world.
func canary(what string) string { return what + "-" + rand.Text() }

// spelled is a secret text as it may stand somewhere: itself, in hex, and in base64 at each of the three alignments.
func spelled(name, text string) needles {
	n := needles{name: []byte(text), name + " in hex": []byte(hex.EncodeToString([]byte(text)))}
	for shift := range 3 {
		b := base64.StdEncoding.EncodeToString(append(make([]byte, shift), text...))
		if shift > 0 {
			b = b[4:] // holds bits of what stood before
		}
		n[fmt.Sprintf("%s in base64 at %d", name, shift)] = []byte(b[:len(b)-4])
	}
	return n
}

// keysOf are the private keys of a home in every form in which a program may hold or write them.
func keysOf(t testing.TB, p *stage.Person) needles {
	t.Helper()
	keys, err := identity.OpenKeyFile(filepath.Join(p.Home, "keystore.age"), []byte(p.Password))
	if err != nil {
		t.Fatal(err)
	}
	text, err := keys.ExportPEM()
	if err != nil {
		t.Fatal(err)
	}
	all := needles{p.User + "'s storage key": keys.Storage[:]}
	for i := 0; ; i++ {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		name := fmt.Sprintf("%s's %s %d", p.User, block.Type, i)
		if block.Type == "PRIVATE KEY" {
			encoded := base64.StdEncoding.EncodeToString(block.Bytes)
			all[name+" in PEM"] = []byte(encoded[(len(encoded)/2)&^63:][:32]) // within one line
			all = merged(all, rawKey(t, name, block.Bytes))
		}
	}
	if len(all) < 40 {
		t.Fatalf("only %d needles in the key file", len(all))
	}
	return all
}

// rawKey is one PKCS#8 key: its numbers as bytes, and as a machine with the lowest byte first holds them.
func rawKey(t testing.TB, name string, der []byte) needles {
	t.Helper()
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil { // ML-KEM: its seed is the end of the encoding
		return needles{name + " seed": der[len(der)-64:][:32], name + " second half of the seed": der[len(der)-32:]}
	}
	if host, ok := key.(ed25519.PrivateKey); ok {
		return needles{name + " seed": host.Seed()}
	}
	n := needles{}
	k := key.(*rsa.PrivateKey)
	for part, number := range map[string]*big.Int{
		"d": k.D, "p": k.Primes[0], "q": k.Primes[1], "dp": k.Precomputed.Dp, "dq": k.Precomputed.Dq, "qinv": k.Precomputed.Qinv,
	} {
		b := number.Bytes()
		b = b[len(b)-128:][:32] // whole words, whatever the length
		reversed := slices.Clone(b)
		slices.Reverse(reversed)
		n[name+" "+part], n[name+" "+part+" in words"] = b, reversed
		n[name+" "+part+" in hex"] = []byte(hex.EncodeToString(b))
	}
	return n
}

// inFiles returns which needles stand in which files below a directory.
func (n needles) inFiles(t testing.TB, dir string) (hits []string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, hit := range n.in(content) {
			hits = append(hits, hit+" in "+d.Name())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Errorf("%s holds no file", dir)
	}
	return hits
}
