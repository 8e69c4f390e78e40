package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/byway-chat/byway/peer"
)

// SocketName is the socket's file name in a peer's home.
const SocketName = "byway.sock"

// maxSocketPath is the longest socket path in bytes that every Unix takes: sun_path has 104 bytes on the BSDs, 108 on Linux, one
// of them for the closing NUL.
const maxSocketPath = 103

// ErrGone tells that no peer answers on the socket, or that the one that did has left before it acted on the request:
// the caller may start a peer itself and ask again.
var ErrGone = errors.New("no running peer answers")

// listen makes the socket of a home. The caller holds the home's lock, so a socket file that is there was left by a process that died.
func listen(home string) (net.Listener, error) {
	path := filepath.Join(home, SocketName)
	if err := removeStale(path); err != nil {
		return nil, err
	}
	short, release, err := shortPath(home)
	if err != nil {
		return nil, err
	}
	defer release()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: short})
	if err != nil {
		return nil, fmt.Errorf("opening the local socket %s: %w", path, err)
	}
	// The listener knows the short name, which may mean another file by the time of Close: the Server removes the file.
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("closing the local socket to others: %w", err), l.Close(), os.Remove(path))
	}
	return l, nil
}

// removeStale removes a left-over socket and nothing else: a file or link of that name is somebody's, and stays.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking at the local socket: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return &peer.Error{Code: peer.CodeFailed, Message: path + " is in the way: it is not a socket", Hint: "move it out of the home directory"}
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("removing the socket of a process that has died: %w", err)
	}
	return nil
}

// connect opens one connection to the socket of a home. ErrGone is in the error's chain where nobody listens.
func connect(ctx context.Context, home string) (net.Conn, error) {
	short, release, err := shortPath(home)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %w", ErrGone, err)
		}
		return nil, err
	}
	defer release()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", short)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, &peer.Error{Code: peer.CodeFailed, Message: "the home " + home + " is closed to you: it may be another user's", Hint: "use --home with a directory of your own"}
	case errors.Is(err, syscall.ENOTDIR):
		return nil, &peer.Error{Code: peer.CodeUsage, Message: home + " is not a directory", Hint: "use --home DIR"}
	case err != nil:
		return nil, fmt.Errorf("connecting to the running peer: %w", err)
	}
	return conn, nil
}

// shortPath names the socket of a home so that it fits a socket address. A long home is reached through a descriptor of the
// directory, which lasts until release; changing the working directory would be felt by the whole process.
func shortPath(home string) (path string, release func(), err error) {
	full := filepath.Join(home, SocketName)
	if len(full) <= maxSocketPath {
		return full, func() {}, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, &peer.Error{
			Code:    peer.CodeUsage,
			Message: fmt.Sprintf("the home directory's path is too long for a Unix socket (%d bytes, at most %d)", len(full), maxSocketPath),
			Hint:    "choose a shorter one with --home, or a symbolic link to it",
		}
	}
	dir, err := os.Open(home)
	if err != nil {
		return "", nil, fmt.Errorf("opening the home directory: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), SocketName), func() { _ = dir.Close() }, nil
}
