package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync waits for the data of a file and not for its times, which change with each write and would cost a second write (fdatasync(2)).
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
