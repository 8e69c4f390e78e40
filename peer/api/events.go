package api

import (
	"cmp"
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
	LastEventID string `header:"Last-Event-ID" maxLength:"64" doc:"resume after the event with this id; a bare seq is taken for one of this process"`
	After       string `query:"after" maxLength:"64" doc:"the same, for clients that cannot set the header"`
}

// place is where to resume: after a seq of the given process, or lost, where the id is another process's.
func (in *Resumption) place(process string) (after uint64, lost bool, err error) {
	id := cmp.Or(in.LastEventID, in.After)
	if id == "" {
		return 0, false, nil
	}
	of, number, named := strings.Cut(id, eventIDMark)
	if !named {
		of, number = process, id
	}
	after, err = strconv.ParseUint(number, 10, 64)
	if err != nil || of == "" {
		return 0, false, &peer.Error{Code: peer.CodeUsage, Message: "that is not the id of an event", Hint: "give the id of an event of this stream, or leave it out"}
	}
	if of != process {
		return 0, true, nil
	}
	return after, false, nil
}

// eventIDMark stands in an event's id between its process and its seq.
const eventIDMark = "-"

type eventsInput struct {
	Resumption
	Unshown bool `query:"unshown" doc:"begin with the messages that no face has shown; with a resumption go on as a face"`
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
		after, lost, err := in.place(s.process)
		if err != nil {
			return nil, err
		}
		return n.subscribe(peer.EventOptions{After: after, Lost: lost, Unshown: in.Unshown})
	}, func(e *peer.Event) uint64 { return e.Seq })
	streamRoute(api, s, "/v1/trace", "Every attempt to find a way and every change of one, as server-sent events", func(in *traceInput) (source[trace.Step], error) {
		after, _, err := in.place(s.process) // of another process: as far back as this one's story reaches
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
			Description: "server-sent events: the id names the process and the object's seq, the data is the object",
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
			pump(c.Context(), sub, w, s, seq)
		}}, nil
	})
}

// pump writes objects until the client leaves, the subscription ends or the server closes.
func pump[E any](ctx context.Context, sub source[E], w http.ResponseWriter, s *Server, seq func(e *E) uint64) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := &eventWriter{w: w, control: http.NewResponseController(w), process: s.process}
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
	out.loop(events, ended, finished, s.closing)
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
	process string // for the ids
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
	return o.write(fmt.Sprintf("id: %s%s%d\ndata: %s\n\n", o.process, eventIDMark, e.seq, data))
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
