package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/byway-chat/byway/peer"
)

// Waits that a client may ask for.
const (
	defaultWait = 10 * time.Second
	maxWait     = time.Hour
)

type reply[T any] struct{ Body T }

type sendInput struct {
	Body struct {
		To        string `json:"to" doc:"user name"`
		Body      string `json:"body" doc:"text, at most 64 KiB of UTF-8"`
		Way       string `json:"way,omitempty" enum:"auto,lan,direct,relay" doc:"how it may travel, within what the policies allow; auto when absent"`
		Ref       string `json:"ref,omitempty" maxLength:"256" doc:"echoed as re in the message's state events"`
		Wait      string `json:"wait,omitempty" enum:"accepted,stored,delivered" doc:"answer when this state is reached or the time is over; accepted when absent"`
		TimeoutMS int64  `json:"timeout_ms,omitempty" minimum:"0" maximum:"3600000" doc:"how long to wait; 10 s when absent"`
		WithinMS  int64  `json:"within_ms,omitempty" minimum:"0" maximum:"3600000" doc:"how long a message that may only go directly may take at most before it is given up; 10 s to find a way and 10 s to use it in any case"`
	}
}

type receiptInput struct {
	ID        string `path:"id" maxLength:"256"`
	Wait      string `query:"wait" enum:"accepted,stored,delivered,read" doc:"answer when this state is reached or the time is over"`
	TimeoutMS int64  `query:"timeout_ms" minimum:"0" maximum:"3600000"`
	Unless    string `query:"unless" maxLength:"64" doc:"answer also when it is only accepted, and waits for this reason"`
}

type historyInput struct {
	User   string `query:"user" doc:"empty: everybody"`
	Search string `query:"search" maxLength:"1024" doc:"only bodies that contain it, case folded"`
	Limit  int    `query:"limit" minimum:"0" maximum:"10000" doc:"the newest so many, oldest first; 0: 100"`
}

type userQuery struct {
	User string `query:"user" required:"true"`
}

type userInput struct {
	Body struct {
		User string `json:"user"`
	}
}

type wayInput struct {
	Body struct {
		User string `json:"user"`
		Way  string `json:"way,omitempty" doc:"auto when absent"`
	}
}

type policyQuery struct {
	User string `query:"user" doc:"a user, or default; empty: the default and everybody with a policy"`
}

type acceptInput struct {
	Body struct {
		User   string `json:"user"`
		Accept bool   `json:"accept,omitempty" doc:"trust the keys shown from now on"`
	}
}

type shownInput struct {
	Body struct {
		IDs  []string    `json:"ids,omitempty" maxItems:"4096"`
		Upto *shownPlace `json:"upto,omitempty" doc:"this message and all before it"`
	}
}

type receiptsInput struct {
	Body struct {
		Read bool `json:"read" doc:"whether contacts learn what was read"`
	}
}

// shownPlace names a message by two fields of its event.
type shownPlace struct {
	Order int64  `json:"order" minimum:"1"`
	ID    string `json:"id" maxLength:"256"`
}

// verb registers one operation: a call of the peer and its answer.
func verb[I, O any](api huma.API, method, path, summary string, call func(ctx context.Context, in *I) (O, error)) {
	op := huma.Operation{
		OperationID: operationID(method, path), Method: method, Path: path, Summary: summary,
		MaxBodyBytes: maxRequest, BodyReadTimeout: -1, // whole has bounded both
	}
	huma.Register(api, op, func(ctx context.Context, in *I) (*reply[O], error) {
		out, err := call(ctx, in)
		if err != nil {
			return nil, faultOf(err)
		}
		return &reply[O]{Body: out}, nil
	})
}

// act registers an operation without an answer.
func act[I any](api huma.API, path, summary string, call func(ctx context.Context, in *I) error) {
	op := huma.Operation{
		OperationID: operationID(http.MethodPost, path), Method: http.MethodPost, Path: path, Summary: summary,
		DefaultStatus: http.StatusNoContent, MaxBodyBytes: maxRequest, BodyReadTimeout: -1,
	}
	huma.Register(api, op, func(ctx context.Context, in *I) (*struct{}, error) {
		if err := call(ctx, in); err != nil {
			return nil, faultOf(err)
		}
		return nil, nil
	})
}

func messageRoutes(api huma.API, n node) {
	verb(api, http.MethodPost, "/v1/send", "Send a message", func(ctx context.Context, in *sendInput) (peer.Receipt, error) {
		b := &in.Body
		r, err := n.Send(ctx, b.To, b.Body, peer.SendOptions{
			Way: b.Way, Ref: b.Ref, Within: time.Duration(b.WithinMS) * time.Millisecond,
		})
		if err != nil || b.Wait == "" {
			return r, err
		}
		return wait(ctx, n, r.ID, peer.State(b.Wait), b.TimeoutMS, "")
	})
	verb(api, http.MethodGet, "/v1/receipts/{id}", "How far a message has come", func(ctx context.Context, in *receiptInput) (peer.Receipt, error) {
		if in.Wait == "" {
			return n.Receipt(ctx, in.ID)
		}
		return wait(ctx, n, in.ID, peer.State(in.Wait), in.TimeoutMS, in.Unless)
	})
	verb(api, http.MethodGet, "/v1/history", "Messages, oldest first", func(ctx context.Context, in *historyInput) ([]peer.HistoryEntry, error) {
		list, err := n.History(ctx, peer.HistoryQuery{User: in.User, Search: in.Search, Limit: in.Limit})
		return notNil(list), err
	})
	act(api, "/v1/read", "Tell a contact that the messages have been read", func(ctx context.Context, in *userInput) error {
		return n.Read(ctx, in.Body.User)
	})
	act(api, "/v1/shown", "Mark messages as shown, so that they are not replayed", func(ctx context.Context, in *shownInput) error {
		if upto := in.Body.Upto; upto != nil {
			if err := n.ShownUpto(ctx, upto.Order, upto.ID); err != nil || len(in.Body.IDs) == 0 {
				return err
			}
		}
		return n.Shown(ctx, in.Body.IDs...)
	})
}

// wait holds the request until the state, until the message waits for the reason in unless, or to the end of the time, which is an answer and no error: the
// receipt says how far it came.
func wait(ctx context.Context, n node, id string, until peer.State, ms int64, unless string) (peer.Receipt, error) {
	if until == peer.StateAccepted {
		return n.Receipt(ctx, id)
	}
	limit := defaultWait
	if ms > 0 {
		limit = min(time.Duration(ms)*time.Millisecond, maxWait)
	}
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := n.WaitUnless(timed, id, until, unless)
	if err != nil && timed.Err() != nil && ctx.Err() == nil && r.ID != "" {
		return r, nil
	}
	return r, err
}

func contactRoutes(api huma.API, n node) {
	verb(api, http.MethodGet, "/v1/who", "Users and the way to each", func(ctx context.Context, _ *struct{}) ([]peer.Contact, error) {
		list, err := n.Who(ctx)
		return notNil(list), err
	})
	verb(api, http.MethodGet, "/v1/route", "Every way to a user, best first, and why it is or is not in use", func(ctx context.Context, in *userQuery) ([]peer.RouteEntry, error) {
		list, err := n.Route(ctx, in.User)
		return notNil(list), err
	})
	verb(api, http.MethodPost, "/v1/ping", "One round trip", func(ctx context.Context, in *wayInput) (peer.Pong, error) {
		return n.Ping(ctx, in.Body.User, in.Body.Way)
	})
	verb(api, http.MethodGet, "/v1/verify", "The safety number with a user", func(ctx context.Context, in *userQuery) (peer.Verification, error) {
		return n.Verify(ctx, in.User, false)
	})
	verb(api, http.MethodPost, "/v1/verify", "Accept a user's keys as compared", func(ctx context.Context, in *acceptInput) (peer.Verification, error) {
		return n.Verify(ctx, in.Body.User, in.Body.Accept)
	})
	verb(api, http.MethodGet, "/v1/way", "Which ways may be used with a user, or with whom anything is set, and what users have said", func(ctx context.Context, in *policyQuery) ([]peer.WayPolicy, error) {
		list, err := n.Ways(ctx, in.User)
		return notNil(list), err
	})
	act(api, "/v1/way", "Choose which ways may be used with a user, or by default", func(ctx context.Context, in *wayInput) error {
		return n.SetWay(ctx, in.Body.User, in.Body.Way)
	})
}

func processRoutes(api huma.API, n node, s *Server) {
	verb(api, http.MethodGet, "/v1/status", "The state of this peer", func(ctx context.Context, _ *struct{}) (peer.Status, error) {
		return n.Status(ctx)
	})
	for path, summary := range map[string]string{
		"/v1/checkup": "What this peer knows of its own situation",
		"/v1/doctor":  "The same as /v1/checkup: what `byway doctor` asks a running peer",
	} {
		verb(api, http.MethodGet, path, summary, func(ctx context.Context, _ *struct{}) (peer.Checkup, error) { return n.Checkup(ctx) })
	}
	verb(api, http.MethodGet, "/v1/address", "Where this device can be reached, the addresses of the local network first", func(ctx context.Context, _ *struct{}) ([]Address, error) {
		st, err := n.Status(ctx)
		return addressesOf(&st), err
	})
	act(api, "/v1/settings/receipts", "Choose whether contacts learn what was read", func(ctx context.Context, in *receiptsInput) error {
		return n.SetReadReceipts(ctx, in.Body.Read)
	})
	act(api, "/v1/stop", "Ask the process that owns the peer to leave", func(context.Context, *struct{}) error {
		s.requestStop()
		return nil
	})
}

// notNil makes an empty list an empty JSON array.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
