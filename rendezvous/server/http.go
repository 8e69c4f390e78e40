package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// maxSocketPath is what fits into a Unix socket's address on every system that this runs on, in bytes.
const maxSocketPath = 103

// listenAdmin opens the operator's socket. The lock of the data directory is held, so a socket that lies there is nobody's.
func listenAdmin(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, &SetupError{
			Problem: fmt.Sprintf("the path of the data directory is too long for a Unix socket: %s has %d bytes", path, len(path)),
			Hint:    fmt.Sprintf("choose one of at most %d bytes with --data DIR", maxSocketPath-len(SocketFile)-1),
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &SetupError{Problem: "the operator's socket cannot be made", Err: err}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, &SetupError{Problem: "the operator's socket cannot be made", Err: err}
	}
	// The directory is 0700, so nobody else could have opened it before this.
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, &SetupError{Problem: "the operator's socket cannot be protected", Err: err}
	}
	return l, nil
}

// httpServer answers on behalf of a server that runs until ctx ends; with it ends what is being streamed.
func httpServer(ctx context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, BaseContext: func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
}

func (s *Server) serveHTTP(server *http.Server, l net.Listener) {
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("an HTTP server has ended", slog.String("address", l.Addr().String()), slog.String("error", err.Error()))
	}
}

// shutdown gives what is being answered a moment, then closes.
func shutdown(servers ...*http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	for _, server := range servers {
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
	}
}

// readyFile is what --ready-file holds.
type readyFile struct {
	PeerID      string   `json:"peer_id"`
	Addrs       []string `json:"addrs"`
	Invite      string   `json:"invite"` // link to the first address, without a token
	AdminSocket string   `json:"admin_socket"`
	Metrics     string   `json:"metrics"` // URL; empty: none
}

func (s *Server) writeReadyFile() error {
	a := s.Address()
	ready := readyFile{PeerID: a.PeerID, Addrs: a.Addrs, Invite: a.Link, AdminSocket: s.data.path(SocketFile)}
	if s.metrics != nil {
		ready.Metrics = "http://" + s.metrics.Addr().String() + "/metrics"
	}
	text, err := json.Marshal(ready)
	if err != nil {
		return err
	}
	path, err := filepath.Abs(s.cfg.ReadyFile)
	if err != nil {
		return err
	}
	return writeFile(path, append(text, '\n'))
}

// removeReadyFile removes the file if it is this rendezvous's: another may have been started with the same name.
func removeReadyFile(path string, id peer.ID) {
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	var ready readyFile
	if json.Unmarshal(text, &ready) == nil && ready.PeerID == id.String() {
		_ = os.Remove(path)
	}
}
