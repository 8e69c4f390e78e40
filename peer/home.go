package peer

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/byway-chat/byway/crypto/identity"
)

// Names of the files of a home. The home holds nothing else that matters; a backup is a copy of it, made while nothing runs.
const (
	homeFileName    = "home.json"
	keyFileName     = "keystore.age"
	historyFileName = "history.db"
	lockFileName    = "lock"
)

// home is a person's directory on this device, owned by the one process that holds its lock.
type home struct {
	dir  string
	lock *os.File
}

// homeFile is what a home says without being opened. It holds no secret.
type homeFile struct {
	V          int    `json:"v"`
	User       string `json:"user"`
	Device     string `json:"device"`
	PeerID     string `json:"peer_id"`
	Rendezvous string `json:"rendezvous"` // multiaddrs with the pinned PeerID
	// Pending is set from before the first sign-in until the rendezvous has answered it: a crash between leaves us enrolled without knowing.
	Pending bool `json:"pending,omitempty"`
	// History is set once there is one: an enrolled home that has lost it must not begin its numbers again.
	History bool `json:"history,omitempty"`
	// NoReadReceipts keeps from contacts what was read.
	NoReadReceipts bool `json:"no_read_receipts,omitempty"`
	// Way is the policy for all contacts that have none of their own, by name; empty: auto. WaySet rises with each change.
	Way    string `json:"way,omitempty"`
	WaySet uint64 `json:"way_set,omitempty"`
	// Sum is the CRC-32C of the file without it, in hex; empty in a file that somebody has written by hand.
	Sum string `json:"sum,omitempty"`
}

// sum returns what Sum must be.
func (f homeFile) sum() string {
	f.Sum = ""
	b, err := json.Marshal(f)
	if err != nil {
		panic("peer: " + err.Error()) // strings, numbers and booleans always encode
	}
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// Inspect tells what a home holds without locking or opening it. A home that does not exist is no error.
func Inspect(dir string) (HomeInfo, error) {
	f, err := readHomeFile(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return HomeInfo{}, nil
	}
	if err != nil {
		return HomeInfo{}, err
	}
	if f.Pending {
		return HomeInfo{User: f.User, Rendezvous: f.Rendezvous}, nil
	}
	sealed, err := identity.KeyFileNeedsPassphrase(filepath.Join(dir, keyFileName))
	if err != nil {
		return HomeInfo{}, keyFileError(dir, err)
	}
	return HomeInfo{Exists: true, User: f.User, NeedsPassphrase: sealed, Rendezvous: f.Rendezvous}, nil
}

func readHomeFile(dir string) (homeFile, error) {
	b, err := os.ReadFile(filepath.Join(dir, homeFileName))
	if err != nil {
		return homeFile{}, fmt.Errorf("read home: %w", err)
	}
	var f homeFile
	if err := json.Unmarshal(b, &f); err != nil || f.V != 1 || f.Sum != "" && f.Sum != f.sum() {
		return homeFile{}, &Error{
			Code: CodeKeyFile, Message: fmt.Sprintf("%s is damaged or from a newer version", filepath.Join(dir, homeFileName)),
			Hint: "restore it from a backup, or use another --home", Err: err,
		}
	}
	f.Sum = "" // what is written next has its own
	return f, nil
}

// openHome makes the directory if need be and takes its lock.
func openHome(dir string) (*home, error) {
	if dir == "" {
		return nil, &Error{Code: CodeUsage, Message: "no home directory is given", Hint: "use --home DIR"}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &Error{Code: CodeFailed, Message: "the home directory cannot be made", Hint: "use --home with a directory that you may write", Err: err}
	}
	if err := checkOwner(dir); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "rendezvous.db")); err == nil {
		return nil, &Error{Code: CodeUsage, Message: dir + " is the data directory of a rendezvous", Hint: "use another --home"}
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFileName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, &Error{Code: CodeFailed, Message: "the home directory cannot be written", Hint: "check who owns it and that the disk is not full", Err: err}
	}
	h := &home{dir: dir, lock: lock}
	if err := h.take(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return h, nil
}

// take locks the home.
func (h *home) take() error {
	err := syscall.Flock(int(h.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		return inUse("another process uses this home")
	}
	return &Error{Code: CodeFailed, Message: "the home directory cannot be locked", Hint: "use --home with a directory on a local disk", Err: err}
}

func inUse(message string) error {
	return &Error{Code: CodeHomeInUse, Message: message, Hint: "try again in a moment; else end the byway that runs there, or use another --home"}
}

// aside gives the lock back while a person is asked, who may take any time, and takes it again. The error has CodeHomeInUse where another process has the
// home by then, or has made another's home of it: what was read before no longer holds.
func (h *home) aside(ask func() error) error {
	before, err := h.file()
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(h.lock.Fd()), syscall.LOCK_UN); err != nil {
		return fmt.Errorf("unlock home: %w", err)
	}
	if err := ask(); err != nil {
		_ = h.take() // who has it now has it: nothing more is done with it here
		return err
	}
	if err := h.take(); err != nil {
		return err
	}
	after, err := h.file()
	if err == nil && after.enrolment() != before.enrolment() {
		err = inUse("another process has signed in on this home meanwhile")
	}
	return err
}

// enrolment is the part of the file that says whose home it is, and where.
func (f homeFile) enrolment() homeFile {
	return homeFile{User: f.User, Device: f.Device, PeerID: f.PeerID, Rendezvous: f.Rendezvous, Pending: f.Pending}
}

// checkOwner refuses a home that others may enter: keys and history would be theirs to copy.
func checkOwner(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return &Error{Code: CodeFailed, Message: "the home directory cannot be read", Err: err}
	}
	if !info.IsDir() {
		return &Error{Code: CodeUsage, Message: dir + " is not a directory", Hint: "use --home DIR"}
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) == 0 {
		return os.Chmod(dir, 0o700)
	}
	return &Error{Code: CodeKeyFile, Message: dir + " is open to other users", Hint: "chmod 700 " + dir}
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

func (h *home) file() (homeFile, error) {
	f, err := readHomeFile(h.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return homeFile{V: 1}, nil
	}
	return f, err
}

// save replaces the home file in one step, so that a crash leaves the old or the new one.
func (h *home) save(f homeFile) error {
	f.V = 1
	f.Sum = f.sum()
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return fmt.Errorf("encode home: %w", err)
	}
	temp, err := os.CreateTemp(h.dir, "."+homeFileName+"-*")
	if err != nil {
		return diskError("write home", err)
	}
	_, err = temp.Write(append(b, '\n'))
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), h.path(homeFileName))
	}
	if err != nil {
		return diskError("write home", errors.Join(err, os.Remove(temp.Name())))
	}
	return h.syncDir()
}

func (h *home) syncDir() error {
	d, err := os.Open(h.dir)
	if err != nil {
		return fmt.Errorf("sync home: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// clear takes back a first sign-in that has failed, so that the home is empty again.
func (h *home) clear() {
	for _, name := range []string{
		homeFileName, keyFileName, historyFileName, historyFileName + "-wal", historyFileName + "-shm", historyFileName + ".sums", historyFileName + ".mark",
	} {
		_ = os.Remove(h.path(name)) // what cannot be removed is found and refused by the next start
	}
}

// checkHistory refuses a home whose history has gone.
func (h *home) checkHistory() error {
	f, err := h.file()
	if err != nil || !f.History {
		return err
	}
	if info, err := os.Stat(h.path(historyFileName)); err == nil && info.Size() > 0 {
		return nil
	}
	return &Error{Code: CodeFailed, Message: "the history file of this home is missing", Hint: hintHistory}
}

// markHistory records that there is a history from now on.
func (h *home) markHistory() error {
	f, err := h.file()
	if err != nil || f.History {
		return err
	}
	f.History = true
	return h.save(f)
}

// removeKeys makes room for a new key file: CreateKeyFile never overwrites one.
func (h *home) removeKeys() { _ = os.Remove(h.path(keyFileName)) }

// close gives the lock back. The file stays: removing it would let two processes lock two files of one name.
func (h *home) close() error { return h.lock.Close() }

// diskError names a full disk, which has a cure of its own.
func diskError(doing string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &Error{Code: CodeDiskFull, Message: "the disk is full", Hint: "free some space and try again; nothing is lost", Err: err}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// keyFileError turns what package identity says about a key file into words and a cure.
func keyFileError(dir string, err error) error {
	path := filepath.Join(dir, keyFileName)
	e := &Error{Code: CodeKeyFile, Err: err}
	switch {
	case errors.Is(err, identity.ErrWrongPassphrase):
		e.Code, e.Message, e.Hint = CodeBadCredentials, "the password does not open this home's key file", "it is the password of the first sign-in on this device"
	case errors.Is(err, identity.ErrPassphraseNeeded):
		e.Code, e.Message, e.Hint = CodeNotSignedIn, "the key file is sealed and no password was given", "use --password-file or BYWAY_PASSWORD_COMMAND"
	case errors.Is(err, identity.ErrOpenToOthers):
		e.Message, e.Hint = "the key file is open to other users", "chmod 600 "+path+", and think about who may have copied it"
	case errors.Is(err, identity.ErrDamaged):
		e.Message, e.Hint = "the key file is damaged", "restore "+path+" from a backup; without it this device's messages cannot be opened"
	case errors.Is(err, fs.ErrNotExist):
		e.Message, e.Hint = "the key file is missing", "restore "+path+" from a backup, or sign in again from an empty --home"
	case errors.Is(err, fs.ErrPermission):
		e.Message, e.Hint = "the key file cannot be read", "check who owns "+path
	default:
		return diskError("open key file "+strings.TrimSpace(path), err)
	}
	return e
}
