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
)

// maxEvent is the longest line in bytes of an event stream: a text of 64 KiB, each byte escaped, and the fields.
const maxEvent = 1 << 20

// Subscription is an open event stream.
type Subscription struct {
	body   io.ReadCloser
	cancel context.CancelFunc
}

// Subscribe opens the event stream. When it returns, the subscription stands: whatever happens later is in it. It ends with ctx or Close.
func (c *Client) Subscribe(ctx context.Context, o peer.EventOptions) (*Subscription, error) {
	q := url.Values{}
	if o.Unshown {
		q.Set("unshown", "true")
	}
	if o.After > 0 {
		q.Set("after", strconv.FormatUint(o.After, 10))
	}
	ctx, cancel := context.WithCancel(ctx)
	resp, err := c.do(ctx, http.MethodGet, "/v1/events?"+q.Encode(), nil)
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
	return &Subscription{body: resp.Body, cancel: cancel}, nil
}

// Close ends the stream; Events then ends too.
func (s *Subscription) Close() {
	s.cancel()
	_ = s.body.Close()
}

// Events yields events until the stream ends, and last an error that says why: ErrGone where the peer has left. It can be ranged once.
func (s *Subscription) Events() iter.Seq2[peer.Event, error] {
	return func(yield func(peer.Event, error) bool) {
		lines := bufio.NewScanner(s.body)
		lines.Buffer(make([]byte, 0, 4096), maxEvent)
		var failure bool
		for lines.Scan() {
			line := lines.Text()
			switch {
			case line == "event: failure":
				failure = true
			case strings.HasPrefix(line, "data: "):
				e, err := event([]byte(line[len("data: "):]), failure)
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
		cause := io.EOF
		if err := lines.Err(); err != nil {
			cause = err
		}
		yield(peer.Event{}, fmt.Errorf("%w: the event stream has ended: %w", ErrGone, cause))
	}
}

func event(data []byte, failure bool) (peer.Event, error) {
	if failure {
		var f Fault
		if err := json.Unmarshal(data, &f); err != nil {
			return peer.Event{}, fmt.Errorf("reading why the event stream ends: %w", err)
		}
		return peer.Event{}, f.err()
	}
	var e peer.Event
	if err := json.Unmarshal(data, &e); err != nil {
		return e, fmt.Errorf("reading an event: %w", err)
	}
	return e, nil
}
