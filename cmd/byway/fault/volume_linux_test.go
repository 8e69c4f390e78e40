package fault

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// volume is a disk of its own, whose power can be cut: an ext4 file system in a file.
type volume struct {
	t     testing.TB
	image string
	dir   string // where it is mounted
}

// newVolume mounts one until the test ends.
func newVolume(t testing.TB) *volume {
	t.Helper()
	v := makeVolume(t)
	if err := v.mount(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.unmount)
	return v
}

// makeVolume mounts nothing yet.
func makeVolume(t testing.TB) *volume {
	t.Helper()
	dir := t.TempDir()
	v := &volume{t: t, image: filepath.Join(dir, "image"), dir: filepath.Join(dir, "disk")}
	err := os.WriteFile(v.image, nil, 0o600)
	if err == nil {
		err = os.Truncate(v.image, 128<<20)
	}
	if err == nil {
		err = os.Mkdir(v.dir, 0o700)
	}
	if err == nil {
		err = stage.Tool("mkfs.ext4", "-q", "-F", v.image)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *volume) mount() error { return stage.Tool("mount", "-o", "loop", v.image, v.dir) }

// cut has the disk forget everything that it was not told to keep, as when its power fails. From now on each access to it is an error.
func (v *volume) cut() {
	v.t.Helper()
	dir, err := os.Open(v.dir)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = dir.Close() }() // an error says that the disk is gone
	const (
		shutdown = 0x8004587d // EXT4_IOC_SHUTDOWN
		noFlush  = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH: not even the journal is written
	)
	how := uint32(noFlush)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		v.t.Fatalf("cut off the disk: %v", errno)
	}
}

// back gives the disk its power again. Nothing may have a file of it open.
func (v *volume) back() {
	v.t.Helper()
	v.unmount()
	if err := v.mount(); err != nil {
		v.t.Fatalf("after the power was cut: %v", err)
	}
}

func (v *volume) unmount() {
	v.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := unix.Unmount(v.dir, 0)
		if err == nil {
			return
		}
		// A process that has just been killed still gives back its files.
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			v.t.Fatalf("unmount: %v", err)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// sync writes what is in memory only.
func (v *volume) sync() {
	v.t.Helper()
	dir, err := os.Open(v.dir)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		v.t.Fatal(err)
	}
}
