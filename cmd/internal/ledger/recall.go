package ledger

import (
	"bytes"
	"errors"
	"io/fs"
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

// recall reads all files of the home, and takes away those that belong to homes which are gone.
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
	for _, name := range names {
		path := filepath.Join(dir, name)
		p, dead, err := read(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			again = again || strings.HasPrefix(name, key)
		case err != nil:
		case !strings.HasPrefix(name, key):
			sweep(path, p, dead)
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

// read copies a page; dead says that its process does not run any more. A page that changes while it is read is read again.
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
	dead = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
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

// sweep removes what a process left behind whose home is not there any more, or that died while it made its file.
func sweep(path string, p *page, dead bool) {
	if !dead {
		return
	}
	if home := p.home.get(); home != "" {
		if _, err := os.Lstat(home); errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(path)
			return
		}
	}
	info, err := os.Lstat(path)
	if err == nil && strings.HasPrefix(filepath.Base(path), fresh) && time.Since(info.ModTime()) > time.Minute {
		_ = os.Remove(path)
	}
}
