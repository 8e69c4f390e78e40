package server

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// The files of a data directory. Everything durable is in them; see docs/operating.md.
const (
	databaseFile = "rendezvous.db" // with -wal and -shm beside it while serving
	hostKeyFile  = "host.key"
	lockFile     = "lock"
	// SocketFile is the operator's Unix socket in the data directory; it exists while the rendezvous serves.
	SocketFile = "admin.sock"
	// ConfigFile is the configuration in the data directory, read by the program where no other is named.
	ConfigFile = "rendezvous.toml"
)

// unfinished begins the name of a file that is being written; openData removes what a process that was killed has left.
const unfinished = ".new-"

const hostKeyType = "BYWAY RENDEZVOUS HOST KEY"

// SetupError is why a rendezvous cannot start, in words for its operator.
type SetupError struct {
	Problem string // lower case, no full stop
	Hint    string // the cure; empty when none is known
	Err     error  // the cause; may be nil
	Usage   bool   // what was asked for makes no sense, wherever it runs
}

func (e *SetupError) Error() string {
	if e.Err == nil {
		return e.Problem
	}
	return e.Problem + ": " + e.Err.Error()
}

func (e *SetupError) Unwrap() error { return e.Err }

// data is an opened data directory: one process at a time holds it.
type data struct {
	dir  string
	lock *os.File
}

// openData makes dir where it does not exist, checks that it is ours alone, and takes its lock.
func openData(dir string) (*data, error) {
	if dir == "" {
		return nil, &SetupError{Problem: "no data directory is set", Hint: "give --data DIR"}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the data directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &SetupError{Problem: "the data directory cannot be made", Hint: "choose a writable place with --data DIR", Err: err}
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, &SetupError{Problem: "the data directory cannot be read", Err: err}
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return nil, &SetupError{
			Problem: fmt.Sprintf("the data directory %s belongs to another user (uid %d)", dir, stat.Uid),
			Hint:    "run as that user, or choose another place with --data DIR",
		}
	}
	if err := checkOurs(dir); err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return nil, &SetupError{Problem: "the data directory is open to others", Hint: "chmod 700 " + dir, Err: err}
		}
	}
	lock, err := takeLock(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, err
	}
	left, err := filepath.Glob(filepath.Join(dir, unfinished+"*"))
	for _, name := range left {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		return nil, &SetupError{Problem: "the data directory cannot be written to", Hint: "check its owner", Err: errors.Join(err, lock.Close())}
	}
	return &data{dir: dir, lock: lock}, nil
}

// checkOurs refuses a directory that holds something, but nothing that a rendezvous has made: it may be a typing error.
func checkOurs(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return &SetupError{Problem: "the data directory cannot be read", Hint: "choose another with --data DIR", Err: err}
	}
	foreign := false
	for _, e := range entries {
		switch name := e.Name(); {
		case name == hostKeyFile, name == ConfigFile, name == databaseFile:
			return nil
		case name == lockFile: // a person's home has one of that name too, so it proves nothing
		case strings.HasPrefix(name, unfinished): // a rendezvous was killed while it wrote its first file
		default:
			foreign = true
		}
	}
	if foreign {
		return &SetupError{
			Problem: fmt.Sprintf("%s holds files that are not a rendezvous's", dir),
			Hint:    "give an empty or new directory with --data DIR",
		}
	}
	return nil
}

func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, &SetupError{
			Problem: "the data directory cannot be written to", Hint: "check its owner and the free space, or choose another with --data DIR", Err: err,
		}
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, &SetupError{
			Problem: fmt.Sprintf("another rendezvous serves from %s", filepath.Dir(path)),
			Hint:    "stop it first, or give this one a directory of its own with --data DIR",
		}
	}
	return f, nil
}

// Close lets another process have the directory.
func (d *data) Close() error { return d.lock.Close() }

func (d *data) path(name string) string { return filepath.Join(d.dir, name) }

// hostKey reads the Ed25519 host key, whose public half every peer has pinned, or makes it in a directory without a database.
func (d *data) hostKey() (crypto.PrivKey, error) {
	path := d.path(hostKeyFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(d.path(databaseFile)); err == nil {
			return nil, &SetupError{
				Problem: fmt.Sprintf("the host key %s is missing beside an existing database", path),
				Hint:    "restore it from a backup: with another key every peer would refuse this rendezvous",
			}
		}
		return makeHostKey(path)
	}
	if err != nil {
		return nil, &SetupError{Problem: "the host key cannot be read", Hint: "check the owner of " + path, Err: err}
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != hostKeyType {
		return nil, damagedHostKey(path, nil)
	}
	key, err := crypto.UnmarshalEd25519PrivateKey(block.Bytes)
	if err != nil {
		return nil, damagedHostKey(path, err)
	}
	if raw, err := key.Raw(); err != nil || !bytes.Equal(ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize]), raw) {
		return nil, damagedHostKey(path, err) // the public half does not belong to the private one: some bit was flipped
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, &SetupError{Problem: "the host key can be read by others", Hint: "chmod 600 " + path}
	}
	return key, nil
}

func damagedHostKey(path string, err error) error {
	return &SetupError{
		Problem: fmt.Sprintf("the host key %s is damaged", path),
		Hint:    "restore it from a backup: with another key every peer would refuse this rendezvous", Err: err,
	}
}

func makeHostKey(path string) (crypto.PrivKey, error) {
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the host key: %w", err)
	}
	raw, err := key.Raw()
	if err != nil {
		return nil, fmt.Errorf("encode the host key: %w", err)
	}
	if err := writeFile(path, pem.EncodeToMemory(&pem.Block{Type: hostKeyType, Bytes: raw})); err != nil {
		return nil, &SetupError{Problem: "the host key cannot be written", Hint: "check the free space", Err: err}
	}
	return key, nil
}

// writeFile puts content at path in one step, readable by the owner alone: a reader sees the old file or the whole new one, after a
// power loss too.
func writeFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), unfinished+"*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone under this name once it has its own
	if _, err := f.Write(content); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	return dir.Sync()
}
