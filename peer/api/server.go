package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/byway-chat/byway/peer"
)

// The server's bounds.
const (
	maxRequest   = 512 << 10        // bytes of a request body: a text of 64 KiB, each byte escaped as \u0000, and the fields
	maxStreams   = 64               // event streams at a time
	readTimeout  = 5 * time.Second  // for a request to arrive whole
	writeTimeout = 10 * time.Second // for a reader of events to take one
	keepAlive    = 15 * time.Second // between comments on a silent stream
	idleTimeout  = 2 * time.Minute  // of a connection without a request
	closeGrace   = 10 * time.Second // for requests that are running at Close
)

// Server answers on one home's socket.
type Server struct {
	// immutable after Serve
	http    *http.Server
	path    string
	process string        // tells the ids of this process's events from those of others
	closing chan struct{} // closed when Close begins; ends the event streams
	stop    chan struct{} // closed when a client has asked the owner to leave
	served  chan struct{} // closed when the accept loop has returned

	stopOnce  sync.Once
	closeOnce sync.Once
	closeErr  error // written once under closeOnce
}

// Serve makes the socket in home and answers on it until Close. It starts one goroutine, which Close stops and waits for. The
// caller owns the peer, and with it the home's lock, and closes the server before the peer. log may be nil.
func Serve(p *peer.Peer, home string, log *slog.Logger) (*Server, error) {
	return serve(running{p}, home, log)
}

func serve(n node, home string, log *slog.Logger) (*Server, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	l, err := listen(home)
	if err != nil {
		return nil, err
	}
	s := &Server{
		path: filepath.Join(home, SocketName), process: strings.ToLower(rand.Text()[:10]),
		closing: make(chan struct{}), stop: make(chan struct{}), served: make(chan struct{}),
	}
	mux, _ := routes(n, s)
	s.http = &http.Server{
		Handler:           whole(mux),
		ReadHeaderTimeout: readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	go s.accept(l)
	return s, nil
}

func (s *Server) accept(l net.Listener) {
	defer close(s.served)
	// After Close it returns ErrServerClosed; any other end of a Unix listener leaves a peer that works, without a socket.
	_ = s.http.Serve(l)
}

// StopRequested is closed when a client has asked the process to leave. The owner decides.
func (s *Server) StopRequested() <-chan struct{} { return s.stop }

func (s *Server) requestStop() { s.stopOnce.Do(func() { close(s.stop) }) }

// Close removes the socket, ends the event streams, lets running requests finish for up to 10 s, and returns when nothing
// of the server runs any more. Further calls return what the first did.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		// The file goes first: who finds none may wait for the home's lock instead of talking to a server that is leaving.
		if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.closeErr = fmt.Errorf("removing the local socket: %w", err)
		}
		close(s.closing)
		ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
		defer cancel()
		if err := s.http.Shutdown(ctx); err != nil {
			s.closeErr = errors.Join(s.closeErr, s.http.Close())
		}
		<-s.served
	})
	return s.closeErr
}

// whole reads each request's body before a handler sees it, bounded in time and size. A deadline left on the connection would
// cancel a handler that waits for a delivery, so it is lifted again.
func whole(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(readTimeout))
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
		_ = control.SetReadDeadline(time.Time{})
		if err != nil {
			e := &peer.Error{Code: peer.CodeUsage, Message: fmt.Sprintf("the request did not arrive whole within %v", readTimeout), Err: err}
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				e = &peer.Error{Code: peer.CodeTooLarge, Message: fmt.Sprintf("the request has more than %d bytes", maxRequest)}
			}
			f := faultOf(e)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(f.status)
			_ = json.NewEncoder(w).Encode(f)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

// routes builds the API over n. The Server may be nil where only the description is wanted.
func routes(n node, s *Server) (*http.ServeMux, huma.API) {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("byway local API", "1")
	config.Info.Description = "The verbs of a running peer, for its owner."
	config.DocsPath = ""     // its page would load scripts from another host
	config.CreateHooks = nil // no "$schema" field in answers
	config.Transformers = append(config.Transformers, critic{config.Components.Schemas}.plain, versioned)
	api := humago.New(mux, config)
	messageRoutes(api, n)
	neighbourRoutes(api, n)
	contactRoutes(api, n)
	experimentRoutes(api, n)
	processRoutes(api, n, s)
	streamRoutes(api, n, s)
	describeFaults(api.OpenAPI())
	describeVersions(api.OpenAPI())
	return mux, api
}
