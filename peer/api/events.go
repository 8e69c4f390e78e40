package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/byway-chat/byway/peer"
)

type eventsInput struct {
	LastEventID string `header:"Last-Event-ID" doc:"resume after this seq"`
	After       uint64 `query:"after" doc:"the same, for clients that cannot set the header"`
	Unshown     bool   `query:"unshown" doc:"begin with the messages that no face has shown"`
}

func (in *eventsInput) options() (peer.EventOptions, error) {
	o := peer.EventOptions{After: in.After, Unshown: in.Unshown}
	if in.LastEventID == "" {
		return o, nil
	}
	seq, err := strconv.ParseUint(in.LastEventID, 10, 64)
	if err != nil {
		return o, &peer.Error{Code: peer.CodeUsage, Message: "the header Last-Event-ID is not a sequence number"}
	}
	o.After = seq
	return o, nil
}

func eventRoute(api huma.API, n node, s *Server) {
	var open atomic.Int32
	event := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[peer.Event](), true, "Event")
	op := huma.Operation{
		OperationID: "get-events", Method: http.MethodGet, Path: "/v1/events",
		Summary: "Events as they happen, as server-sent events",
		Responses: map[string]*huma.Response{"200": {
			Description: "server-sent events: the id is the object's seq, the data the object",
			Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: event}},
		}},
	}
	huma.Register(api, op, func(_ context.Context, in *eventsInput) (*huma.StreamResponse, error) {
		o, err := in.options()
		if err != nil {
			return nil, faultOf(err)
		}
		if open.Add(1) > maxStreams {
			open.Add(-1)
			return nil, faultOf(&peer.Error{Code: peer.CodeRateLimited, Message: fmt.Sprintf("%d event streams are open already", maxStreams)})
		}
		sub, err := n.subscribe(o)
		if err != nil {
			open.Add(-1)
			return nil, faultOf(err)
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			defer open.Add(-1)
			defer sub.Close()
			_, w := humago.Unwrap(c)
			pump(c.Context(), sub, w, s.closing)
		}}, nil
	})
}

// pump writes events until the client leaves, the subscription ends or the server closes.
func pump(ctx context.Context, sub stream, w http.ResponseWriter, closing <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := &eventWriter{w: w, control: http.NewResponseController(w)}
	// The first comment tells the client that its subscription stands: what happens from now on is in the stream.
	if out.write(": byway\n\n") != nil {
		return
	}
	events, ended := make(chan peer.Event), make(chan error, 1)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for e, err := range sub.Events(ctx) {
			if err != nil {
				ended <- err
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	out.loop(events, ended, finished, closing)
	cancel()
	<-finished
}

// eventWriter is owned by the request's goroutine.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (o *eventWriter) loop(events <-chan peer.Event, ended <-chan error, finished, closing <-chan struct{}) {
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

func (o *eventWriter) event(e peer.Event) error {
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	if e.Seq == 0 { // told again: nothing can resume behind it
		return o.write(fmt.Sprintf("data: %s\n\n", data))
	}
	return o.write(fmt.Sprintf("id: %d\ndata: %s\n\n", e.Seq, data))
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
