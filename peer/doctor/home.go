package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/byway-chat/byway/peer"
)

// Of the disk.
const (
	littleSpace = 200 << 20 // bytes; below it there is a warning
	noSpace     = 4 << 20
	slowSync    = 500 * time.Millisecond // a message is accepted when it is on the disk: each waits so long
)

// heldInSilence is said of a home whose lock is held, and nobody answers on its socket.
const heldInSilence = "held by a process that does not answer"

// whyUnusable says why there is nothing to look at in a home that is not usable.
func (e *examination) whyUnusable(none string) string {
	if e.broken {
		return "the home cannot be used as it is: see the step home"
	}
	return none
}

func (e *examination) version(context.Context) {
	e.add(Step{Name: "version", State: OK, Detail: fmt.Sprintf("byway %s, %s, %s/%s", e.cfg.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)})
}

func (e *examination) lookAtHome(context.Context) {
	info, err := os.Stat(e.cfg.Home)
	e.broken = true // until it has turned out otherwise
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.broken = false
		e.add(Step{Name: "home", State: OK, Detail: e.cfg.Home + " does not exist yet: it is made by the first sign-in"})
		return
	case err != nil:
		e.fail("home", &peer.Error{Code: peer.CodeFailed, Message: "the home directory cannot be read", Hint: "check who owns " + e.cfg.Home, Err: err})
		return
	case !info.IsDir():
		e.fail("home", &peer.Error{Code: peer.CodeUsage, Message: e.cfg.Home + " is not a directory", Hint: "use --home DIR"})
		return
	}
	e.home, err = peer.LookAtHome(e.cfg.Home)
	e.mask.forget(e.home.User)
	switch {
	case err != nil:
		e.fail("home", err)
		return
	case info.Mode().Perm()&0o077 != 0 && e.home.Exists:
		e.fail("home", &peer.Error{Code: peer.CodeKeyFile, Message: e.cfg.Home + " is open to other users", Hint: "chmod 700 " + e.cfg.Home})
		return
	case !e.home.Exists:
		e.broken = false
		detail := "nobody is signed in on it yet"
		if e.home.User != "" {
			detail = "a first sign-in was cut off: the next one goes on with it"
		}
		e.add(Step{Name: "home", State: OK, Detail: e.cfg.Home + ": " + detail, Hint: "byway register --user NAME"})
		return
	}
	e.usable, e.broken = true, false
	e.add(Step{Name: "home", State: OK, Detail: e.cfg.Home + " can be read, and only by its owner"})
}

func (e *examination) lookAtLock(ctx context.Context) {
	held, err := peer.HomeInUse(e.cfg.Home)
	switch {
	case err != nil:
		e.fail("lock", err)
	case held && e.cfg.Answers != nil && !e.cfg.Answers(ctx):
		e.silent = true
		e.fail("lock", &peer.Error{Code: peer.CodeHomeInUse, Message: heldInSilence, Hint: "find out which one that is and end it: no command works on this home while it holds it"})
	case held:
		e.add(Step{Name: "lock", State: OK, Detail: "held by a running peer"})
	default:
		e.add(Step{Name: "lock", State: OK, Detail: "free: no peer runs"})
	}
}

func (e *examination) lookAtKeys(context.Context) {
	if !e.usable {
		e.skip("key-file", e.whyUnusable("there is no account here whose keys it could hold"))
		return
	}
	sealed, err := peer.LookAtKeys(e.cfg.Home)
	if err != nil {
		e.usable = false
		e.fail("key-file", err)
		return
	}
	if sealed {
		e.add(Step{Name: "key-file", State: OK, Detail: "sealed with the password, and readable only by its owner"})
		return
	}
	e.add(Step{Name: "key-file", State: OK, Detail: "not sealed (--no-passphrase), and readable only by its owner"})
}

// lookAtDisk writes a few bytes as a message is written, and looks how much room there is.
func (e *examination) lookAtDisk(context.Context) {
	dir := e.cfg.Home
	for {
		if info, err := os.Stat(dir); err == nil && info.IsDir() || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	began := time.Now()
	if err := writeAndSync(dir); err != nil {
		e.fail("disk", diskTrouble(err))
		return
	}
	took := time.Since(began)
	s := Step{Name: "disk", State: OK, MS: milliseconds(took), Detail: "written and synced in " + inWords(took)}
	if took > slowSync {
		s.State, s.Hint = Warning, "each message waits so long before it is accepted: the disk is slow or very busy"
	}
	if free, err := freeSpace(dir); err == nil {
		s.Detail += fmt.Sprintf(", %d MiB free", free>>20)
		switch {
		case free < noSpace:
			s.State, s.Code, s.Hint = Failed, peer.CodeDiskFull, "free some space; nothing that was accepted is lost"
		case free < littleSpace:
			s.State, s.Hint = Warning, "the disk is nearly full: free some space"
		}
	}
	e.add(s)
}

func diskTrouble(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &peer.Error{Code: peer.CodeDiskFull, Message: "the disk is full", Hint: "free some space; nothing that was accepted is lost", Err: err}
	}
	return &peer.Error{Code: peer.CodeFailed, Message: "the home cannot be written", Hint: "check who owns it and whether the disk is mounted read-only", Err: err}
}

// writeAndSync leaves nothing behind.
func writeAndSync(dir string) error {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	block := make([]byte, 4096)
	_, _ = rand.Read(block) // never fails (crypto/rand)
	_, err = f.Write(block)
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// freeSpace returns how many bytes a person may still write.
func freeSpace(dir string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("look at the disk: %w", err)
	}
	return s.Bavail * uint64(s.Bsize), nil
}
