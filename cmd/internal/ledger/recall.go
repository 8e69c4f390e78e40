package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// recollection is what the files of a home say.
type recollection struct {
	last Mark
	torn []*page  // of processes that died in the middle of a line
	dead []string // files whose content is in last
}

// Bounds of tidying up after other homes.
const (
	maxSwept = 64             // files that one ledger looks at
	keepGone = 24 * time.Hour // how long a page is kept when its home is not there: its disk may come back, or this process may not see it
)

// recall reads all files of the home, and takes away some of those that belong to homes which have been gone for long.
func recall(o Options) *recollection {
	r := new(recollection)
	for _, dir := range o.Dirs {
		if !usable(dir) {
			continue
		}
		// A file may go between the listing and the look, its content being in another that has come meanwhile: then all again.
		for range 8 {
			if !r.look(dir, o.key()) {
				break
			}
		}
	}
	return r
}

// look reads the files of one directory and reports whether one has vanished meanwhile.
func (r *recollection) look(dir, key string) (again bool) {
	d, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer func() { _ = d.Close() }()
	names, _ := d.Readdirnames(maxNames) // what cannot be listed cannot be read either
	var others []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		if !strings.HasPrefix(name, key) {
			others = append(others, path)
			continue
		}
		p, dead, err := read(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			again = true
		case err != nil:
		case dead:
			last, torn := p.settle()
			r.remember(last)
			if torn {
				r.torn = append(r.torn, p)
			}
			r.dead = append(r.dead, path)
		default:
			r.remember(p.newest())
		}
	}
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	for _, path := range others[:min(len(others), maxSwept)] {
		sweep(path, time.Now())
	}
	return again
}

func (r *recollection) remember(m Mark) {
	if m.Order > r.last.Order {
		r.last = m
	}
}

// forget takes the files of dead processes away once another holds what they said. Without another they stay.
func (r *recollection) forget(kept bool) {
	if !kept {
		return
	}
	for _, path := range r.dead {
		_ = os.Remove(path) // another face may have done so
	}
}

// tornOn reports whether the stream of p is one on which a line was left unfinished.
func (r *recollection) tornOn(p *page) bool {
	return slices.ContainsFunc(r.torn, func(t *page) bool { return t.ino == p.ino && t.dev == p.dev && p.ino != 0 })
}

// errNotOurs is returned for a file that no ledger of this user and build has made.
var errNotOurs = errors.New("not a page of a ledger")

// read copies a page; dead says that its process does not run any more. A page that changes while it is read is read again. The lock of a reader is
// shared: another who looks at the same time must not be taken for the owner.
func read(path string) (p *page, dead bool, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	if !info.Mode().IsRegular() || info.Size() != pageSize || !ours(info) {
		return nil, false, errNotOurs
	}
	dead = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil
	for range 100 {
		if p, err = copyPage(f); err != nil {
			return nil, dead, err
		}
		again, err := copyPage(f)
		if err != nil {
			return nil, dead, err
		}
		if p.seq.Load() == again.seq.Load() {
			return p, dead, nil
		}
	}
	return nil, dead, errNotOurs
}

func copyPage(f *os.File) (*page, error) {
	var b [pageSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return nil, err
	}
	p := new(page)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(p)), unsafe.Sizeof(*p)), b[:])
	if !bytes.Equal(p.magic[:], magic[:]) {
		return nil, errNotOurs
	}
	return p, nil
}

// sweep removes what a dead process left behind whose home has not been there for long, or that died while it made its file.
func sweep(path string, now time.Time) {
	if strings.HasPrefix(filepath.Base(path), fresh) {
		// Whoever still makes it finds that it is gone, and makes another.
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && ours(info) && now.Sub(info.ModTime()) > time.Minute {
			_ = os.Remove(path)
		}
		return
	}
	p, dead, err := read(path)
	if err != nil || !dead {
		return
	}
	home := p.home.get()
	if home == "" {
		return
	}
	_, err = os.Lstat(home)
	since := time.Unix(p.gone, 0)
	switch missing := errors.Is(err, fs.ErrNotExist); {
	case missing && (p.gone == 0 || since.After(now)):
		noteGone(path, now.Unix())
	case missing && now.Sub(since) > keepGone:
		_ = os.Remove(path)
	case err == nil && p.gone != 0:
		noteGone(path, 0)
	}
}

// noteGone writes into the page of a dead process since when its home is gone. What fails is done by the next one who looks.
func noteGone(path string, at int64) {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], uint64(at))
	_, _ = f.WriteAt(b[:], int64(unsafe.Offsetof(page{}.gone)))
}
