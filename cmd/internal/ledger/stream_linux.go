package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// sinkFor chooses how text is printed on a file, and notes in the page what its successor must know to judge a text half way.
func (p *page) sinkFor(out *os.File) sink {
	p.dev, p.ino = identity(out)
	info, err := out.Stat()
	if err != nil {
		return &plain{w: out}
	}
	conn, err := out.SyscallConn()
	if err != nil {
		return &plain{w: out}
	}
	var flags int
	var path string
	err = conn.Control(func(fd uintptr) { // Fd would change the mode of the stream, which others may share
		flags, _ = unix.FcntlInt(fd, unix.F_GETFL, 0)
		path, _ = os.Readlink("/proc/self/fd/" + strconv.Itoa(int(fd)))
	})
	if err == nil && flags&unix.O_APPEND != 0 && info.Mode().IsRegular() {
		p.path.set(path)
		p.added = 1
		return &appending{plain{w: out}, out}
	}
	return &counted{out: out, conn: conn, pipe: info.Mode()&os.ModeNamedPipe != 0}
}

// appending writes at the end of a file, where others may write too. The file itself tells afterwards what was written.
type appending struct {
	plain
	file *os.File
}

func (s *appending) prepare([]byte) (int64, error) {
	info, err := s.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("looking at standard output: %w", err)
	}
	return info.Size(), nil
}

// shelf is how many bytes of text lie in one file in memory before another is begun.
const shelf = 1 << 20

// counted lays text into a file in memory and lets the kernel take it from there to the stream: sendfile and splice store how far they have
// come where they are told to, before they return. A signal, kill -9 too, is seen only after that.
//
// A pipe takes the pages themselves and no copy, so a page is never written twice: each text has its own, and the file is dropped when it is full.
type counted struct {
	out  *os.File
	conn syscall.RawConn
	pipe bool

	store *os.File // in memory; nil: none yet
	next  int64    // where the next text lies, a multiple of the page size
}

func (s *counted) prepare(text []byte) (int64, error) {
	if s.store == nil || s.next+int64(len(text)) > shelf && s.next > 0 {
		if err := s.renew(); err != nil {
			return 0, nil // put finds no store and writes
		}
	}
	start := s.next
	if _, err := s.store.WriteAt(text, start); err != nil {
		_ = s.Close()
		return 0, nil
	}
	s.next += (int64(len(text)) + pageSize - 1) / pageSize * pageSize
	return start, nil
}

func (s *counted) renew() error {
	_ = s.Close()
	fd, err := unix.MemfdCreate("byway", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // a kernel that does not know the second flag
		fd, err = unix.MemfdCreate("byway", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return err
	}
	s.store, s.next = os.NewFile(uintptr(fd), "byway"), 0
	return nil
}

// Close drops the file in memory. What a pipe still holds of it stays until it is read.
func (s *counted) Close() error {
	if s.store == nil {
		return nil
	}
	err := s.store.Close()
	s.store = nil
	return err
}

func (s *counted) put(text []byte, pos *int64) error {
	begun, end := *pos, *pos+int64(len(text))
	for s.store != nil && *pos < end {
		if err := s.transfer(pos, int(end-*pos)); err != nil {
			// Not for such a stream, or the reader has gone. A plain write goes on where this has come to, or says so in its usual way.
			break
		}
	}
	if *pos == end {
		return nil
	}
	return (&plain{w: s.out}).put(text[*pos-begun:], pos)
}

// transfer moves some of what is left, waiting for room, and pos with it.
func (s *counted) transfer(pos *int64, n int) error {
	var moved int
	var failed error
	err := s.conn.Write(func(fd uintptr) bool {
		for {
			if s.pipe {
				m, err := unix.Splice(int(s.store.Fd()), pos, int(fd), nil, n, 0)
				moved, failed = int(m), err
			} else {
				moved, failed = unix.Sendfile(int(fd), int(s.store.Fd()), pos, n)
			}
			if !errors.Is(failed, unix.EINTR) {
				return !errors.Is(failed, unix.EAGAIN)
			}
		}
	})
	if err = errors.Join(err, failed); err == nil && moved == 0 {
		err = io.ErrNoProgress
	}
	return err
}
