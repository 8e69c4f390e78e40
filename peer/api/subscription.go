package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/trace"
)

// maxEvent is the longest line in bytes of an event stream: a text of 64 KiB, each byte escaped, and the fields.
const maxEvent = 1 << 20

// Subscription is an open stream of events.
type Subscription = Stream[peer.Event]

// Stream is an open stream of objects of one kind.
type Stream[E any] struct {
	body   io.ReadCloser
	cancel context.CancelFunc
}

// Subscribe opens the event stream. When it returns, the subscription stands: whatever happens later is in it. It ends with ctx or Close.
func (c *Client) Subscribe(ctx context.Context, o peer.EventOptions) (*Subscription, error) {
	q := url.Values{}
	if o.Unshown {
		q.Set("unshown", "true")
	}
	return openStream[peer.Event](ctx, c, "/v1/events", q, o.After)
}

// Trace opens the story of the ways, in the same manner.
func (c *Client) Trace(ctx context.Context, o trace.Options) (*Stream[trace.Step], error) {
	q := url.Values{}
	if o.User != "" {
		q.Set("user", o.User)
	}
	if o.New {
		q.Set("new", "true")
	}
	if o.Held {
		q.Set("held", "true")
	}
	return openStream[trace.Step](ctx, c, "/v1/trace", q, o.After)
}

func openStream[E any](ctx context.Context, c *Client, path string, q url.Values, after uint64) (*Stream[E], error) {
	if after > 0 {
		q.Set("after", strconv.FormatUint(after, 10))
	}
	ctx, cancel := context.WithCancel(ctx)
	resp, err := c.do(ctx, http.MethodGet, path+"?"+q.Encode(), nil)
	if err != nil {
		defer cancel()
		return nil, gone(ctx, err, again)
	}
	if resp.StatusCode != http.StatusOK {
		defer cancel()
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxEvent))
		_ = resp.Body.Close()
		return nil, refusal(resp.StatusCode, answer)
	}
	return &Stream[E]{body: resp.Body, cancel: cancel}, nil
}

// Close ends the stream; Events then ends too.
func (s *Stream[E]) Close() {
	s.cancel()
	_ = s.body.Close()
}

// Events yields objects until the stream ends, and last an error that says why: ErrGone where the peer has left or has nothing more to tell. It
// can be ranged once.
func (s *Stream[E]) Events() iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		lines := bufio.NewScanner(s.body)
		lines.Buffer(make([]byte, 0, 4096), maxEvent)
		var failure bool
		for lines.Scan() {
			line := lines.Text()
			switch {
			case line == "event: failure":
				failure = true
			case strings.HasPrefix(line, "data: "):
				e, err := object[E]([]byte(line[len("data: "):]), failure)
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
		cause := io.EOF
		if err := lines.Err(); err != nil {
			cause = err
		}
		var none E
		yield(none, fmt.Errorf("%w: the event stream has ended: %w", ErrGone, cause))
	}
}

// object reads one object of a stream, or why the stream ends.
func object[E any](data []byte, failure bool) (E, error) {
	var e E
	if failure {
		var f Fault
		if err := json.Unmarshal(data, &f); err != nil {
			return e, fmt.Errorf("reading why the event stream ends: %w", err)
		}
		return e, f.err()
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return e, fmt.Errorf("reading an event: %w", err)
	}
	return e, nil
}
