package server

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/byway-chat/byway/rendezvous"
)

func TestDataDirectory(t *testing.T) {
	for _, tt := range []struct {
		name    string
		setup   func(t *testing.T, dir string) string
		problem string // empty: it opens
	}{
		{"new", func(_ *testing.T, dir string) string { return filepath.Join(dir, "a", "b") }, ""},
		{"empty", func(_ *testing.T, dir string) string { return dir }, ""},
		{"only a configuration", func(t *testing.T, dir string) string { return write(t, dir, ConfigFile, "") }, ""},
		{"none", func(*testing.T, string) string { return "" }, "no data directory"},
		{"somebody's files", func(t *testing.T, dir string) string { return write(t, dir, "thesis.tex", "") }, "not a rendezvous's"},
		{"a file", func(t *testing.T, dir string) string { return filepath.Join(write(t, dir, "f", ""), "f") }, "cannot be made"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := openData(tt.setup(t, t.TempDir()))
			if err == nil {
				defer d.Close()
			}
			checkSetup(t, err, tt.problem)
			if err != nil {
				return
			}
			if info, err := os.Stat(d.dir); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("got mode %v, %v, want 0700", info.Mode(), err)
			}
			_, err = openData(d.dir)
			checkSetup(t, err, "another rendezvous serves")
		})
	}
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// checkSetup checks that err is nil for an empty problem, and else a SetupError that says it and a cure.
func checkSetup(t *testing.T, err error, problem string) {
	t.Helper()
	if problem == "" {
		if err != nil {
			t.Errorf("got %v", err)
		}
		return
	}
	setup, ok := errors.AsType[*SetupError](err)
	if !ok || !strings.Contains(setup.Problem, problem) || setup.Hint == "" {
		t.Errorf("got %#v, want the problem %q and a hint", err, problem)
	}
}

func TestHostKey(t *testing.T) {
	d, err := openData(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	first, err := d.hostKey()
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.hostKey()
	if err != nil || !again.Equals(first) {
		t.Fatalf("the key has changed: %v", err)
	}
	path := d.path(hostKeyFile)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = d.hostKey()
	checkSetup(t, err, "can be read by others")
	write(t, d.dir, hostKeyFile, "-----BEGIN NOTHING-----")
	_, err = d.hostKey()
	checkSetup(t, err, "is damaged")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, d.dir, databaseFile, "")
	_, err = d.hostKey()
	checkSetup(t, err, "is missing beside an existing database")
}

func TestNewRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	loopback := []string{"/ip4/127.0.0.1/tcp/0"}
	damaged := filepath.Join(t.TempDir(), "damaged")
	if s, err := New(t.Context(), Config{Data: damaged, Listen: loopback, Hasher: cheap()}); err != nil {
		t.Fatal(err)
	} else if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, damaged, databaseFile, strings.Repeat("this is not a database ", 1000))
	for _, suffix := range []string{"-wal", "-shm"} {
		_ = os.Remove(filepath.Join(damaged, databaseFile+suffix))
	}
	for _, tt := range []struct {
		name    string
		cfg     Config
		problem string
	}{
		{"port in use", Config{Listen: []string{"/ip4/127.0.0.1/tcp/" + port}}, "is in use"},
		{"no address", Config{Listen: []string{"29929"}}, "is not a listen address"},
		{"somebody else's address", Config{Listen: []string{"/ip4/192.0.2.1/tcp/0"}}, "cannot listen on"},
		{"metrics", Config{Listen: loopback, Metrics: taken.Addr().String()}, "cannot serve metrics"},
		{"a path that is too long", Config{Data: filepath.Join(t.TempDir(), strings.Repeat("x", 120)), Listen: loopback}, "too long"},
		{"a damaged database", Config{Data: damaged, Listen: loopback}, "is damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Hasher = cheap()
			if tt.cfg.Data == "" {
				tt.cfg.Data = t.TempDir()
			}
			s, err := New(t.Context(), tt.cfg)
			if err == nil {
				_ = s.Close()
			}
			checkSetup(t, err, tt.problem)
		})
	}
}

func TestLimitsAdmitMaxPeers(t *testing.T) {
	for _, maxPeers := range []int{1, 100, 10_000, 100_000} {
		m, err := resourceManager(maxPeers, nil)
		if err != nil {
			t.Fatalf("%d peers: %v", maxPeers, err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestPasswordRates(t *testing.T) {
	ip := netip.MustParseAddr
	for _, tt := range []struct {
		name    string
		ips     []netip.Addr // asked in turn
		limited bool
	}{
		{"loopback", []netip.Addr{ip("127.0.0.1")}, false},
		{"private", []netip.Addr{ip("192.168.1.2")}, false},
		{"overlay", []netip.Addr{ip("100.100.1.2")}, false},
		{"private IPv6", []netip.Addr{ip("fd00::1")}, false},
		{"no address", []netip.Addr{{}}, false},
		{"public", []netip.Addr{ip("45.0.0.1")}, true},
		{"one household", []netip.Addr{ip("2600:1:2:3::1"), ip("2600:1:2:4::1")}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, limited := newRates(), false
			for i := range passwordBurst + 2 {
				err := r.password(tt.ips[i%len(tt.ips)])
				if err != nil && i < passwordBurst {
					t.Fatalf("refused at %d: %v", i, err)
				}
				if rendezvous.CodeOf(err) == rendezvous.CodeRateLimited {
					limited = true
				}
			}
			if limited != tt.limited {
				t.Errorf("got limited %v, want %v", limited, tt.limited)
			}
		})
	}
}

func TestPrintable(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"byway v1", "byway v1"}, {"a\x1b[2Jb\n", "a[2Jb"}, {"\u202eevil", "evil"}, {strings.Repeat("x", 100), strings.Repeat("x", 64)},
	} {
		if got := printable(tt.in, maxAgent); got != tt.want {
			t.Errorf("printable(%q): got %q, want %q", tt.in, got, tt.want)
		}
	}
}
