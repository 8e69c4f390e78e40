package api

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/trace"
)

// Resumption is where a client wants a stream to go on.
type Resumption struct {
	LastEventID string `header:"Last-Event-ID" doc:"resume after this seq"`
	After       uint64 `query:"after" doc:"the same, for clients that cannot set the header"`
}

func (in *Resumption) seq() (uint64, error) {
	if in.LastEventID == "" {
		return in.After, nil
	}
	seq, err := strconv.ParseUint(in.LastEventID, 10, 64)
	if err != nil {
		return 0, &peer.Error{Code: peer.CodeUsage, Message: "the header Last-Event-ID is not a sequence number"}
	}
	return seq, nil
}

type eventsInput struct {
	Resumption
	Unshown bool `query:"unshown" doc:"begin with the messages that no face has shown"`
}

type traceInput struct {
	Resumption
	User string `query:"user" doc:"only what concerns this contact, or this device as a whole"`
	New  bool   `query:"new" doc:"nothing that has happened before"`
	Held bool   `query:"held" doc:"nothing but that"`
}

// source is a subscription of either stream.
type source[E any] interface {
	Events(ctx context.Context) iter.Seq2[E, error]
	Close()
}

func streamRoutes(api huma.API, n node, s *Server) {
	streamRoute(api, s, "/v1/events", "Events as they happen, as server-sent events", func(in *eventsInput) (source[peer.Event], error) {
		after, err := in.seq()
		if err != nil {
			return nil, err
		}
		return n.subscribe(peer.EventOptions{After: after, Unshown: in.Unshown})
	}, func(e *peer.Event) uint64 { return e.Seq })
	streamRoute(api, s, "/v1/trace", "Every attempt to find a way and every change of one, as server-sent events", func(in *traceInput) (source[trace.Step], error) {
		after, err := in.seq()
		if err != nil {
			return nil, err
		}
		return n.follow(trace.Options{User: in.User, After: after, New: in.New, Held: in.Held})
	}, func(e *trace.Step) uint64 { return e.Seq })
}

// streamRoute registers a stream: open begins a subscription, seq numbers its objects.
func streamRoute[I, E any](api huma.API, s *Server, path, summary string, open func(in *I) (source[E], error), seq func(e *E) uint64) {
	var streams atomic.Int32
	object := reflect.TypeFor[E]()
	op := huma.Operation{
		OperationID: operationID(http.MethodGet, path), Method: http.MethodGet, Path: path, Summary: summary,
		Responses: map[string]*huma.Response{"200": {
			Description: "server-sent events: the id is the object's seq, the data the object",
			Content: map[string]*huma.MediaType{"text/event-stream": {
				Schema: api.OpenAPI().Components.Schemas.Schema(object, true, object.Name()),
			}},
		}},
	}
	huma.Register(api, op, func(_ context.Context, in *I) (*huma.StreamResponse, error) {
		if streams.Add(1) > maxStreams {
			streams.Add(-1)
			return nil, faultOf(&peer.Error{Code: peer.CodeRateLimited, Message: fmt.Sprintf("%d such streams are open already", maxStreams)})
		}
		sub, err := open(in)
		if err != nil {
			streams.Add(-1)
			return nil, faultOf(err)
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			defer streams.Add(-1)
			defer sub.Close()
			_, w := humago.Unwrap(c)
			pump(c.Context(), sub, w, s.closing, seq)
		}}, nil
	})
}

// pump writes objects until the client leaves, the subscription ends or the server closes.
func pump[E any](ctx context.Context, sub source[E], w http.ResponseWriter, closing <-chan struct{}, seq func(e *E) uint64) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := &eventWriter{w: w, control: http.NewResponseController(w)}
	// The first comment tells the client that its subscription stands: what happens from now on is in the stream.
	if out.write(": byway\n\n") != nil {
		return
	}
	events, ended := make(chan numbered), make(chan error, 1)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for e, err := range sub.Events(ctx) {
			if err != nil {
				ended <- err
				return
			}
			select {
			case events <- numbered{seq(&e), e}:
			case <-ctx.Done():
				return
			}
		}
	}()
	out.loop(events, ended, finished, closing)
	cancel()
	<-finished
}

// numbered is an object of a stream and its number.
type numbered struct {
	seq    uint64
	object any
}

// eventWriter is owned by the request's goroutine.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (o *eventWriter) loop(events <-chan numbered, ended <-chan error, finished, closing <-chan struct{}) {
	beat := time.NewTicker(keepAlive)
	defer beat.Stop()
	for {
		var err error
		select {
		case e := <-events:
			err = o.event(e)
		case <-beat.C:
			err = o.write(": \n\n")
		case <-finished:
			select {
			case cause := <-ended:
				_ = o.failure(cause)
			default:
			}
			return
		case <-closing:
			return
		}
		if err != nil {
			return
		}
	}
}

func (o *eventWriter) event(e numbered) error {
	data, err := json.Marshal(e.object)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	if e.seq == 0 { // told again: nothing can resume behind it
		return o.write(fmt.Sprintf("data: %s\n\n", data))
	}
	return o.write(fmt.Sprintf("id: %d\ndata: %s\n\n", e.seq, data))
}

func (o *eventWriter) failure(cause error) error {
	data, err := json.Marshal(faultOf(cause))
	if err != nil {
		return fmt.Errorf("encoding a failure: %w", err)
	}
	return o.write(fmt.Sprintf("event: failure\ndata: %s\n\n", data))
}

// write sends text at once and gives a reader that takes nothing 10 s.
func (o *eventWriter) write(text string) error {
	_ = o.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := o.w.Write([]byte(text)); err != nil {
		return fmt.Errorf("writing to an event stream: %w", err)
	}
	if err := o.control.Flush(); err != nil {
		return fmt.Errorf("writing to an event stream: %w", err)
	}
	return nil
}

// operationID is get-who for GET /v1/who.
func operationID(method, path string) string {
	name := strings.TrimSuffix(strings.TrimPrefix(path, "/v1/"), "/{id}")
	return strings.ToLower(method) + "-" + name
}
