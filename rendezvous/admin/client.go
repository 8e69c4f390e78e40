package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/byway-chat/byway/rendezvous"
)

// ErrNotServing means that no rendezvous answers at the socket.
var ErrNotServing = errors.New("no rendezvous is serving")

// maxAnswer bounds one answer in bytes; a page of users with all their devices stays well under it.
const maxAnswer = 16 << 20

// Client asks a serving rendezvous over its socket. The zero value is not usable.
type Client struct {
	http *http.Client
}

// NewClient returns a client for the socket at path. It connects on the first request.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Client{http: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConns: 1}}}
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Users calls yield for every account in the order of the names.
func (c *Client) Users(ctx context.Context, yield func(User) error) error {
	for after := ""; ; {
		var page userPage
		query := url.Values{"after": {after}, "limit": {strconv.Itoa(MaxUsersPage)}}
		if err := c.do(ctx, http.MethodGet, "/v1/users?"+query.Encode(), nil, &page); err != nil {
			return err
		}
		for _, u := range page.Users {
			if err := yield(u); err != nil {
				return err
			}
			after = u.Name
		}
		if len(page.Users) < MaxUsersPage {
			return nil
		}
	}
}

// Active returns the signed-in connections.
func (c *Client) Active(ctx context.Context) ([]Active, error) {
	var got activeList
	err := c.do(ctx, http.MethodGet, "/v1/active", nil, &got)
	return got.Active, err
}

// Status returns the state of the whole.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var got Status
	err := c.do(ctx, http.MethodGet, "/v1/status", nil, &got)
	return got, err
}

// Address returns where the rendezvous can be reached.
func (c *Client) Address(ctx context.Context) (Address, error) {
	var got Address
	err := c.do(ctx, http.MethodGet, "/v1/address", nil, &got)
	return got, err
}

// Kick ends the connections of an account and says how many there were.
func (c *Client) Kick(ctx context.Context, name string) (int, error) {
	var got kicked
	err := c.do(ctx, http.MethodPost, "/v1/kick", map[string]any{"name": name}, &got)
	return got.Connections, err
}

// Ban keeps an account from signing in and says how many connections it ended.
func (c *Client) Ban(ctx context.Context, name, reason string) (int, error) {
	var got kicked
	err := c.do(ctx, http.MethodPost, "/v1/ban", map[string]any{"name": name, "reason": reason}, &got)
	return got.Connections, err
}

// Unban lifts a ban.
func (c *Client) Unban(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodPost, "/v1/unban", map[string]any{"name": name}, new(kicked))
}

// Invite makes an invitation for a number of registrations; a zero lifetime is no end.
func (c *Client) Invite(ctx context.Context, uses int, lifetime time.Duration) (Invite, error) {
	var got Invite
	err := c.do(ctx, http.MethodPost, "/v1/invite", map[string]any{"uses": uses, "expires_ms": lifetime.Milliseconds()}, &got)
	return got, err
}

// Watch calls watching once nothing is missed any more, then yield for each envelope that passes, until ctx ends, yield fails, or the
// rendezvous stops.
func (c *Client) Watch(ctx context.Context, withBytes bool, watching func(), yield func(Envelope) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin/v1/watch?bytes="+strconv.FormatBool(withBytes), nil)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return notServing(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	event := ""
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			event = name
			continue
		}
		text, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		switch {
		case !ok:
		case event == "watching":
			watching()
		case event == "envelope":
			var e Envelope
			if err := json.Unmarshal(text, &e); err != nil {
				return fmt.Errorf("parse an envelope: %w", err)
			}
			if err := yield(e); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var content io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode a request: %w", err)
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://admin"+path, content)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return notServing(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return refusal(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("parse the answer: %w", err)
	}
	return nil
}

// notServing tells a socket that nobody serves from one that may not be used.
func notServing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%w: %w", ErrNotServing, err)
	}
	return fmt.Errorf("ask the rendezvous: %w", err)
}

// refusal turns an error answer back into an error.
func refusal(resp *http.Response) error {
	var problem struct {
		Detail string `json:"detail"`
	}
	_ = json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&problem)
	switch resp.StatusCode {
	case http.StatusNotFound:
		return rendezvous.Errorf(rendezvous.CodeNoSuchUser, "%s", problem.Detail)
	case http.StatusUnprocessableEntity:
		return rendezvous.Errorf(rendezvous.CodeBadRequest, "%s", problem.Detail)
	}
	return fmt.Errorf("the rendezvous answers %d: %s", resp.StatusCode, problem.Detail)
}
