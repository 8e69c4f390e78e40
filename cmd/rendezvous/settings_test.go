package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		name  string
		args  []string
		env   map[string]string
		file  string // rendezvous.toml in the data directory
		want  func(*settings)
		wrong string // part of the error
	}{
		{name: "defaults", want: func(*settings) {}},
		{name: "flags", args: []string{"--listen", "/a", "--listen", "/b", "--max-peers", "7"}, want: func(s *settings) {
			s.listen, s.maxPeers = []string{"/a", "/b"}, 7
		}},
		{name: "environment", env: map[string]string{"RENDEZVOUS_LISTEN": "/a, /b", "RENDEZVOUS_NO_MDNS": "true"}, want: func(s *settings) {
			s.listen, s.noMDNS = []string{"/a", "/b"}, true
		}},
		{name: "file", file: "listen = ['/a', '/b']\nmax-peers = 9\nregistration = 'invite'", want: func(s *settings) {
			s.listen, s.maxPeers, s.registration = []string{"/a", "/b"}, 9, "invite"
		}},
		{
			name: "flag before environment before file", args: []string{"--max-peers", "1"},
			env:  map[string]string{"RENDEZVOUS_MAX_PEERS": "2", "RENDEZVOUS_LOG_LEVEL": "debug"},
			file: "max-peers = 3\nlog-level = 'warn'\nlisten = '/c'",
			want: func(s *settings) { s.maxPeers, s.logLevel, s.listen = 1, "debug", []string{"/c"} },
		},
		{name: "unknown key", file: "registratoin = 'open'", wrong: `unknown key "registratoin"`},
		{name: "a key that only a flag may be", file: "data = '/x'", wrong: `unknown key "data"`},
		{name: "a table", file: "[registration]\na = 1", wrong: "registration is open, invite or closed"},
		{name: "a list", file: "metrics = ['a', 'b']", wrong: "metrics is not a list"},
		{name: "no TOML", file: "max-peers 9", wrong: "the configuration"},
		{name: "no number", env: map[string]string{"RENDEZVOUS_MAX_PEERS": "many"}, wrong: "$RENDEZVOUS_MAX_PEERS"},
		{name: "registration", args: []string{"--registration", "maybe"}, wrong: "not \"maybe\""},
		{name: "peers", args: []string{"--max-peers", "0"}, wrong: "max-peers"},
		{name: "format", args: []string{"--log-format", "xml"}, wrong: "log-format"},
		{name: "level", args: []string{"--log-level", "loud"}, wrong: "log-level"},
		{name: "a file that is not there", args: []string{"--config", "/nowhere/at.all"}, wrong: "read the configuration"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.file != "" {
				if err := os.WriteFile(filepath.Join(dir, "rendezvous.toml"), []byte(tt.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			p := program{getenv: func(name string) string {
				if name == "RENDEZVOUS_DATA" {
					return dir
				}
				return tt.env[name]
			}}
			var got settings
			flags := flagsOf(&got)
			if err := flags.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			err := p.complete(&got, flags)
			if tt.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("got %v, want %q", err, tt.wrong)
				}
				if v := verdictOf(err); v.exit != exitUsage || v.hint == "" {
					t.Errorf("got %+v", v)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := settings{data: dir, registration: "open", maxPeers: 10_000, logLevel: "info"}
			tt.want(&want)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(settings{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestSettingsAreDocumented holds docs/operating.md to the flags.
func TestSettingsAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operating.md"))
	if err != nil {
		t.Fatal(err)
	}
	flagsOf(new(settings)).VisitAll(func(f *pflag.Flag) {
		if !bytes.Contains(page, []byte("\n| `"+f.Name+"` |")) {
			t.Errorf("--%s is not in the table of settings", f.Name)
		}
	})
}

func TestSize(t *testing.T) {
	for _, tt := range []struct {
		n    uint64
		want string
	}{{0, "0 B"}, {1023, "1023 B"}, {1024, "1.0 KiB"}, {80 << 10, "80.0 KiB"}, {3 << 29, "1.5 GiB"}, {1 << 63, "8.0 EiB"}} {
		if got := size(tt.n); got != tt.want {
			t.Errorf("size(%d): got %q, want %q", tt.n, got, tt.want)
		}
	}
}
