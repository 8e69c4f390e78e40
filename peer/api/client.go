package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/byway-chat/byway/peer"
)

// maxAnswer is the largest answer in bytes that a Client takes: a history of 10,000 messages of some kilobytes each.
const maxAnswer = 256 << 20

// Client speaks to the peer that runs for a home. Its methods are those of peer.Peer; besides their errors each can return one with
// ErrGone in its chain. It may be used by several goroutines.
type Client struct {
	http *http.Client // immutable
}

// Dial connects to the peer that runs for home. ErrGone is in the error's chain where none does.
func Dial(ctx context.Context, home string) (*Client, error) {
	probe, err := connect(ctx, home)
	if err != nil {
		return nil, err
	}
	if err := probe.Close(); err != nil {
		return nil, fmt.Errorf("closing the first connection: %w", err)
	}
	transport := &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return connect(ctx, home) },
		MaxIdleConnsPerHost: 8,
		DisableCompression:  true,
	}
	return &Client{http: &http.Client{Transport: transport}}, nil
}

// Close drops idle connections. Requests that run end on their own.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Send sends a message and returns when it is on the peer's disk.
func (c *Client) Send(ctx context.Context, to, body string, o peer.SendOptions) (peer.Receipt, error) {
	var in sendInput
	in.Body.To, in.Body.Body, in.Body.Way, in.Body.Ref = to, body, o.Way, o.Ref
	if o.Within > 0 {
		in.Body.WithinMS = inBounds(o.Within)
	}
	return post[peer.Receipt](ctx, c, "/v1/send", in.Body, once)
}

// inBounds is a time in ms as the API takes it: there is none to wait longer for, and 0 would mean that none was given.
func inBounds(d time.Duration) int64 { return max(1, min(d, maxWait).Milliseconds()) }

// Wait returns the message's receipt when it has come to until or has failed, and the latest one when timeout (at most 1 h) is over.
func (c *Client) Wait(ctx context.Context, id string, until peer.State, timeout time.Duration) (peer.Receipt, error) {
	return c.WaitUnless(ctx, id, until, timeout, "")
}

// WaitUnless is Wait that returns too when the message is only accepted and waits for this reason. An older peer waits all the same.
func (c *Client) WaitUnless(ctx context.Context, id string, until peer.State, timeout time.Duration, reason string) (peer.Receipt, error) {
	q := url.Values{"wait": {string(until)}, "timeout_ms": {strconv.FormatInt(inBounds(timeout), 10)}}
	if reason != "" {
		q.Set("unless", reason)
	}
	return get[peer.Receipt](ctx, c, "/v1/receipts/"+url.PathEscape(id), q)
}

// Receipt returns how far a message has come.
func (c *Client) Receipt(ctx context.Context, id string) (peer.Receipt, error) {
	return get[peer.Receipt](ctx, c, "/v1/receipts/"+url.PathEscape(id), nil)
}

// History returns messages, oldest first.
func (c *Client) History(ctx context.Context, q peer.HistoryQuery) ([]peer.HistoryEntry, error) {
	return get[[]peer.HistoryEntry](ctx, c, "/v1/history", url.Values{"user": {q.User}, "search": {q.Search}, "limit": {strconv.Itoa(q.Limit)}})
}

// Read tells user that the messages have been read.
func (c *Client) Read(ctx context.Context, user string) error {
	var in userInput
	in.Body.User = user
	_, err := post[none](ctx, c, "/v1/read", in.Body, again)
	return err
}

// Shown marks messages so that they are not replayed to a face.
func (c *Client) Shown(ctx context.Context, ids ...string) error {
	var in shownInput
	in.Body.IDs = ids
	_, err := post[none](ctx, c, "/v1/shown", in.Body, again)
	return err
}

// ShownUpto marks a message and all before it, by the order and the id of its event. A message that the peer does not have changes nothing.
func (c *Client) ShownUpto(ctx context.Context, order int64, id string) error {
	var in shownInput
	in.Body.Upto = &shownPlace{Order: order, ID: id}
	_, err := post[none](ctx, c, "/v1/shown", in.Body, again)
	return err
}

// Who returns the users and the way to each.
func (c *Client) Who(ctx context.Context) ([]peer.Contact, error) {
	return get[[]peer.Contact](ctx, c, "/v1/who", nil)
}

// Route returns every way to user.
func (c *Client) Route(ctx context.Context, user string) ([]peer.RouteEntry, error) {
	return get[[]peer.RouteEntry](ctx, c, "/v1/route", url.Values{"user": {user}})
}

// Ping makes one round trip to user.
func (c *Client) Ping(ctx context.Context, user, way string) (peer.Pong, error) {
	var in wayInput
	in.Body.User, in.Body.Way = user, way
	return post[peer.Pong](ctx, c, "/v1/ping", in.Body, again)
}

// Verify returns the safety number with user, and with accept marks the keys as compared.
func (c *Client) Verify(ctx context.Context, user string, accept bool) (peer.Verification, error) {
	if !accept {
		return get[peer.Verification](ctx, c, "/v1/verify", url.Values{"user": {user}})
	}
	var in acceptInput
	in.Body.User, in.Body.Accept = user, true
	return post[peer.Verification](ctx, c, "/v1/verify", in.Body, again)
}

// Ways tells which ways may be used with user, or without one all that is set.
func (c *Client) Ways(ctx context.Context, user string) ([]peer.WayPolicy, error) {
	return get[[]peer.WayPolicy](ctx, c, "/v1/way", url.Values{"user": {user}})
}

// SetWay chooses which ways may be used with user, or by default.
func (c *Client) SetWay(ctx context.Context, user, way string) error {
	var in wayInput
	in.Body.User, in.Body.Way = user, way
	_, err := post[none](ctx, c, "/v1/way", in.Body, again)
	return err
}

// SetReadReceipts says whether contacts may learn what was read.
func (c *Client) SetReadReceipts(ctx context.Context, on bool) error {
	var in receiptsInput
	in.Body.Read = on
	_, err := post[none](ctx, c, "/v1/settings/receipts", in.Body, again)
	return err
}

// Status returns the state of the peer.
func (c *Client) Status(ctx context.Context) (peer.Status, error) {
	return get[peer.Status](ctx, c, "/v1/status", nil)
}

// Checkup returns what the peer knows of its own situation.
func (c *Client) Checkup(ctx context.Context) (peer.Checkup, error) {
	return get[peer.Checkup](ctx, c, "/v1/checkup", nil)
}

// Stop asks the process that owns the peer to leave, and does not wait for it.
func (c *Client) Stop(ctx context.Context) error {
	_, err := post[none](ctx, c, "/v1/stop", nil, again)
	return err
}

// none is the answer of a verb that has none.
type none struct{}

// repeat says whether a request may be made again when it is not known whether it was carried out.
type repeat bool

const (
	once  repeat = false
	again repeat = true
)

func get[O any](ctx context.Context, c *Client, path string, q url.Values) (O, error) {
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return call[O](ctx, c, http.MethodGet, path, nil, again)
}

func post[O any](ctx context.Context, c *Client, path string, in any, r repeat) (O, error) {
	var none O
	body := []byte{}
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return none, fmt.Errorf("encoding a request: %w", err)
		}
	}
	return call[O](ctx, c, http.MethodPost, path, body, r)
}

// call makes one request and decodes its answer.
func call[O any](ctx context.Context, c *Client, method, path string, body []byte, r repeat) (O, error) {
	var out O
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return out, gone(ctx, err, r)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return out, gone(ctx, err, r)
	}
	if resp.StatusCode/100 != 2 {
		return out, refusal(resp.StatusCode, answer)
	}
	if len(answer) == 0 {
		return out, nil
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return out, fmt.Errorf("reading the running peer's answer: %w", err)
	}
	return out, nil
}

func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://byway"+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.http.Do(req)
}

// gone says ErrGone where the connection broke and the request may be made again: it was never sent, or repeating it does no harm.
func gone(ctx context.Context, err error, r repeat) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrGone):
		return err
	case r == again:
		return fmt.Errorf("%w: %w", ErrGone, err)
	default:
		return &peer.Error{
			Code: peer.CodeFailed, Message: "the running peer left before it answered; the message may or may not be on its way",
			Hint: "byway history shows it if it is", Err: err,
		}
	}
}
