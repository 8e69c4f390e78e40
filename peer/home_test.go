package peer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
)

func openTestHome(t *testing.T, dir string) *home {
	t.Helper()
	h, err := openHome(dir)
	if err != nil {
		t.Fatalf("open home: %v", err)
	}
	t.Cleanup(func() { _ = h.close() })
	return h
}

// wantCode wants an *Error with a code, and with a hint: whoever meets it must know what to do.
func wantCode(t *testing.T, err error, code Code) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code != code || e.Hint == "" {
		t.Errorf("got %v (%+v), want the code %s and a hint", err, e, code)
	}
}

func TestOpenHome(t *testing.T) {
	rows := []struct {
		name string
		make func(dir string) error
		code Code // empty: it opens
	}{
		{"missing", func(string) error { return nil }, ""},
		{"empty", func(dir string) error { return os.Mkdir(dir, 0o700) }, ""},
		{"empty and open to others", func(dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o755)) }, ""},
		{"used and open to others", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, homeFileName), nil, 0o600), os.Chmod(dir, 0o750))
		}, CodeKeyFile},
		{"used and for others to enter", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, homeFileName), nil, 0o600), os.Chmod(dir, 0o701))
		}, CodeKeyFile},
		{"a file", func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, CodeFailed},
		{"below a file", func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Dir(dir)), os.WriteFile(filepath.Dir(dir), nil, 0o600))
		}, CodeFailed},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "of", "alice")
			if err := errors.Join(os.MkdirAll(filepath.Dir(dir), 0o700), row.make(dir)); err != nil {
				t.Fatalf("prepare: %v", err)
			}
			h, err := openHome(dir)
			if row.code != "" {
				wantCode(t, err, row.code)
				return
			}
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			defer func() { _ = h.close() }()
			for name, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o700, h.path(lockFileName): 0o600} {
				info, err := os.Stat(name)
				if err != nil || info.Mode() != want {
					t.Errorf("%s: got %v and %v, want mode %v", name, info.Mode(), err, want)
				}
			}
		})
	}
	_, err := openHome("")
	wantCode(t, err, CodeUsage)
}

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	other := exec.CommandContext(t.Context(), os.Args[0])
	other.Env = append(os.Environ(), homeHolder+"="+dir)
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatalf("pipe: %v", err)
	}
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatalf("pipe: %v", err)
	}
	if err := other.Start(); err != nil {
		t.Fatalf("start: %v", err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "held\n" {
		t.Fatalf("the other process says %q and %v", line, err)
	}
	_, err = openHome(dir)
	wantCode(t, err, CodeHomeInUse)
	_, err = New(Config{Home: dir})
	wantCode(t, err, CodeHomeInUse)
	if info, err := Inspect(dir); err != nil || info.Exists {
		t.Errorf("got %+v and %v, want a look without the lock", info, err)
	}
	if err := other.Process.Kill(); err != nil { // a dead process holds nothing
		t.Fatalf("kill: %v", err)
	}
	_ = other.Wait()
	_ = stdin.Close()
	h := openTestHome(t, dir)
	if err := h.close(); err != nil {
		t.Errorf("close: %v", err)
	}
	openTestHome(t, dir)
}

func TestHomeFile(t *testing.T) {
	h := openTestHome(t, filepath.Join(t.TempDir(), "home"))
	if f, err := h.file(); err != nil || f != (homeFile{V: 1}) {
		t.Errorf("got %+v and %v of a new home, want an empty file", f, err)
	}
	want := homeFile{User: "zoë", Device: "0123456789abcdef", PeerID: "12D3", Rendezvous: "/ip4/127.0.0.1/tcp/1/p2p/12D3"}
	for _, pending := range []bool{true, false} {
		want.Pending = pending
		if err := h.save(want); err != nil {
			t.Fatalf("save: %v", err)
		}
		want.V = 1
		if got, err := h.file(); err != nil || got != want {
			t.Errorf("got %+v and %v, want %+v", got, err, want)
		}
	}
	info, err := os.Stat(h.path(homeFileName))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("got %v and %v, want mode 0600", info, err)
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return strings.Join(all, " ")
}

// TestSaveIsAtomic wants a save that fails to leave the old file, and nothing beside it.
func TestSaveIsAtomic(t *testing.T) {
	t.Run("disk full", func(t *testing.T) {
		if os.Getuid() != 0 {
			t.Skip("a small disk can be mounted by root only")
		}
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k,mode=0700"); err != nil {
			t.Skipf("a small disk cannot be mounted here: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Errorf("unmount: %v", err)
			}
		})
		h := openTestHome(t, dir)
		if err := h.save(homeFile{User: "old"}); err != nil {
			t.Fatalf("save: %v", err)
		}
		_ = os.WriteFile(h.path("ballast"), make([]byte, 64<<10), 0o600) // as much as fits
		wantCode(t, h.save(homeFile{User: "new"}), CodeDiskFull)
		if f, err := h.file(); err != nil || f.User != "old" {
			t.Errorf("got %+v and %v, want the old file", f, err)
		}
		want(t, names(t, dir), "ballast home.json lock")
	})
	t.Run("no rename", func(t *testing.T) {
		h := openTestHome(t, filepath.Join(t.TempDir(), "home"))
		if err := os.MkdirAll(h.path(filepath.Join(homeFileName, "in the way")), 0o700); err != nil {
			t.Fatalf("make: %v", err)
		}
		if err := h.save(homeFile{User: "new"}); err == nil {
			t.Error("it was saved in place of a directory")
		}
		want(t, names(t, h.dir), "home.json lock")
	})
}

func TestClear(t *testing.T) {
	h := openTestHome(t, filepath.Join(t.TempDir(), "home"))
	for _, name := range []string{keyFileName, historyFileName, historyFileName + "-wal", historyFileName + "-shm", historyFileName + ".sums", historyFileName + ".mark", "of the person"} {
		if err := os.WriteFile(h.path(name), nil, 0o600); err != nil {
			t.Fatalf("write: %v", err)
		}
	}
	if err := h.save(homeFile{User: "alice"}); err != nil {
		t.Fatalf("save: %v", err)
	}
	h.clear()
	want(t, names(t, h.dir), "lock of the person")
}

func TestInspect(t *testing.T) {
	alice := homeFile{V: 1, User: "alice", Rendezvous: "/ip4/127.0.0.1/tcp/1/p2p/12D3"}
	pending := alice
	pending.Pending = true
	newer := alice
	newer.V = 2
	keys := func(passphrase string) func(string) error {
		return func(dir string) error {
			return identity.CreateKeyFile(filepath.Join(dir, keyFileName), identitytest.Keyring(0), []byte(passphrase))
		}
	}
	content := func(b string) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, keyFileName), []byte(b), 0o600) }
	}
	known := HomeInfo{Exists: true, User: "alice", Rendezvous: alice.Rendezvous}
	sealed := known
	sealed.NeedsPassphrase = true
	rows := []struct {
		name string
		file any
		keys func(dir string) error
		want HomeInfo
		code Code
	}{
		{"nothing", nil, nil, HomeInfo{}, ""},
		{"keys alone", nil, content("x"), HomeInfo{}, ""},
		{"pending", pending, nil, HomeInfo{User: "alice", Rendezvous: alice.Rendezvous}, ""},
		{"without passphrase", alice, func(dir string) error {
			return identity.CreateKeyFile(filepath.Join(dir, keyFileName), identitytest.Keyring(0), nil)
		}, known, ""},
		{"with passphrase", alice, keys("correct horse battery"), sealed, ""},
		{"keys missing", alice, nil, HomeInfo{}, CodeKeyFile},
		{"keys damaged", alice, content("x"), HomeInfo{}, CodeKeyFile},
		{"newer version", newer, nil, HomeInfo{}, CodeKeyFile},
		{"damaged", "no object", nil, HomeInfo{}, CodeKeyFile},
		{"cut", []int{}, nil, HomeInfo{}, CodeKeyFile},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			dir := t.TempDir()
			if row.file != nil {
				b, err := json.Marshal(row.file)
				if row.name == "cut" {
					b = []byte(`{"v": 1, "us`)
				}
				if err := errors.Join(err, os.WriteFile(filepath.Join(dir, homeFileName), b, 0o600)); err != nil {
					t.Fatalf("write: %v", err)
				}
			}
			if row.keys != nil {
				if err := row.keys(dir); err != nil {
					t.Fatalf("make keys: %v", err)
				}
			}
			got, err := Inspect(dir)
			if diff := cmp.Diff(got, row.want); diff != "" {
				t.Errorf("got differs (-got +want):\n%s", diff)
			}
			if row.code != "" {
				wantCode(t, err, row.code)
			} else if err != nil {
				t.Errorf("got %v, want no error", err)
			}
		})
	}
	if info, err := Inspect(filepath.Join(t.TempDir(), "nowhere")); err != nil || info != (HomeInfo{}) {
		t.Errorf("got %+v and %v of a home that does not exist, want nothing", info, err)
	}
}

// TestFlippedHomeFile flips every bit of the home file: it reads as it was, or is refused with a cure.
func TestFlippedHomeFile(t *testing.T) {
	h := openTestHome(t, filepath.Join(t.TempDir(), "home"))
	if err := h.save(homeFile{User: "alice", Device: "device", PeerID: "12D3", Rendezvous: "/ip4/127.0.0.1/tcp/1", History: true}); err != nil {
		t.Fatal(err)
	}
	want, err := h.file()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(h.path(homeFileName))
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(h.path(homeFileName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := h.file()
		if err != nil {
			if hintOf(err) == "" {
				t.Fatalf("bit %d: no cure in %v", bit, err)
			}
			continue
		}
		if got != want {
			t.Fatalf("bit %d (%q): got %+v", bit, b[bit/8], got)
		}
	}
}

// TestAskingLeavesTheHomeFree has other processes use the home while this one waits for a password.
func TestAskingLeavesTheHomeFree(t *testing.T) {
	for _, tc := range []struct {
		name      string
		meanwhile func(t *testing.T, other *home) // what the other does, before
		stays     bool                            // it goes on with the home
		code      Code                            // of Up
	}{
		{"comes and goes", func(*testing.T, *home) {}, false, CodePasswordTooWeak},
		{"comes and stays", func(*testing.T, *home) {}, true, CodeHomeInUse},
		{"signs in", func(t *testing.T, other *home) {
			if err := other.save(homeFile{User: "bob", Pending: true}); err != nil {
				t.Fatal(err)
			}
		}, false, CodeHomeInUse},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "home")
			p, err := New(Config{
				Home: dir, User: "alice", SignIn: SignInRegister, NoMDNS: true,
				Password: func(context.Context, PasswordUse, string) ([]byte, error) {
					other, err := openHome(dir)
					if err != nil {
						t.Fatalf("the home is not free: %v", err)
					}
					tc.meanwhile(t, other)
					if tc.stays {
						t.Cleanup(func() { _ = other.close() })
					} else if err := other.close(); err != nil {
						t.Fatal(err)
					}
					return []byte("short"), nil
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			wantCode(t, p.Up(t.Context()), tc.code)
			if _, err := openHome(dir); err == nil {
				t.Error("the home is free while a peer has it")
			} else if told, ok := errors.AsType[*Error](err); !ok || told.Hint == "" || told.Error() != "another process uses this home" {
				t.Errorf("got %v", err)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
