package ledger

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxNames is how many files of a directory are listed. Each running face has one, and each that was killed and not started again.
const maxNames = 1 << 14

// Dirs returns the directories whose content a killed process leaves and a restart of the machine does not, the best first.
func Dirs(getenv func(string) string) []string {
	var dirs []string
	if runtime := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(runtime) { // the XDG specification: a relative path is to be ignored
		dirs = append(dirs, filepath.Join(runtime, "byway"))
	}
	return append(dirs, fmt.Sprintf("/dev/shm/byway-%d", os.Geteuid()))
}

// usable makes a directory that only its owner can enter, and refuses one that is somebody else's: /dev/shm is everybody's.
func usable(dir string) bool {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return false
	}
	info, err := os.Lstat(dir)
	return err == nil && info.IsDir() && info.Mode().Perm()&0o077 == 0 && ours(info)
}

func ours(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// identity is what tells an open file from every other; zeros where that is not known.
func identity(f *os.File) (dev, ino uint64) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Dev), stat.Ino //nolint:unconvert // Dev has other types on other systems
	}
	return 0, 0
}

// key is what the names of the files of a home and device begin with.
func (o *Options) key() string {
	home := o.Home
	if real, err := filepath.EvalSymlinks(home); err == nil {
		home = real
	}
	sum := sha256.Sum256([]byte(o.Device + "\x00" + home))
	return hex.EncodeToString(sum[:16]) + "-"
}

// fresh begins the name of a file that is being made.
const fresh = "new-"

// paper is a page in a file that is locked while its process lives.
type paper struct {
	path  string
	file  *os.File
	bytes []byte // mapped
}

// newPaper makes a page that remembers last, in the first directory that can be used; without one the page is plain memory and there is no paper.
func newPaper(o Options, last Mark) (*paper, *page) {
	for _, dir := range o.Dirs {
		for range 8 { // another ledger may just take the directory away, or look at the file before it is locked
			if !usable(dir) {
				break
			}
			p, page, err := write(dir, o, last)
			if err == nil {
				return p, page
			}
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.EWOULDBLOCK) {
				break
			}
		}
	}
	memory := new(page)
	memory.init(o.Home, last)
	return nil, memory
}

// write makes the file under another name first: whoever finds one that is not locked takes it for that of a dead process.
func write(dir string, o Options, last Mark) (p *paper, at *page, err error) {
	nonce := rand.Text()[:12]
	path := filepath.Join(dir, fresh+nonce)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(path)
		}
	}()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, nil, err
	}
	if err := f.Truncate(pageSize); err != nil {
		return nil, nil, err
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, pageSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	_ = unix.Mlock(b) // so that the kernel never has to wait for it while a kill is pending; without the right to, it is there all the same
	at = (*page)(unsafe.Pointer(&b[0]))
	at.init(o.Home, last)
	final := filepath.Join(dir, o.key()+nonce)
	if err := os.Rename(path, final); err != nil {
		_ = syscall.Munmap(b)
		return nil, nil, err
	}
	return &paper{path: final, file: f, bytes: b}, at, nil
}

// close gives the page back; with remove the file goes too, while it is still locked.
func (p *paper) close(remove bool) error {
	var errs []error
	if remove {
		errs = append(errs, os.Remove(p.path))
		_ = os.Remove(filepath.Dir(p.path)) // stays where there are others
	}
	return errors.Join(append(errs, syscall.Munmap(p.bytes), p.file.Close())...)
}
