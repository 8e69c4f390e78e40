// Package admin is what an operator can ask a serving rendezvous: HTTP and JSON over a Unix socket, described in OpenAPI 3.1 at
// /openapi.json, and metrics. [Handler] serves it for an [Operator]; [Client] asks it.
//
// Whoever can open the socket is the operator: its file mode, 0600 in a directory of 0700, is the only guard. Objects of one version only ever
// gain fields.
package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/sse"

	"github.com/byway-chat/byway/rendezvous"
)

// MaxUsersPage is how many users one answer may hold.
const MaxUsersPage = 500

// Operator is what a rendezvous offers to its operator. Errors that are *rendezvous.Error are shown as they are.
type Operator interface {
	Observer
	Moderator
}

// Observer looks and changes nothing.
type Observer interface {
	// Users returns at most limit accounts whose names come after the given one, in their order.
	Users(ctx context.Context, after string, limit int) ([]User, error)
	// Active returns the signed-in connections, by name and device.
	Active() []Active
	Status(ctx context.Context) Status
	Address() Address
	// Watch yields envelopes as they pass until ctx ends; what the caller is too slow for is dropped and counted. withBytes
	// adds the ciphertext.
	Watch(ctx context.Context, withBytes bool) <-chan Envelope
}

// Moderator decides who may be here.
type Moderator interface {
	// Kick ends the connections of an account and says how many there were. Its devices may come back.
	Kick(ctx context.Context, name string) (int, error)
	// Ban keeps an account from signing in, ends its connections and says how many there were. Unban lifts it.
	Ban(ctx context.Context, name, reason string) (int, error)
	Unban(ctx context.Context, name string) error
	// Invite makes an invitation for the given number of registrations; a zero lifetime is no end.
	Invite(ctx context.Context, uses int, lifetime time.Duration) (Invite, error)
}

// Handler serves the operator's API.
func Handler(op Operator, version string) http.Handler {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Byway rendezvous: the operator's API", version)
	config.CreateHooks = nil // no "$schema" in the objects: they are the same as those the program prints
	config.DocsPath = ""
	api := humago.New(mux, config)
	register(api, op)
	return mux
}

func register(api huma.API, op Operator) {
	type usersInput struct {
		After string `query:"after" doc:"Begin after this name."`
		Limit int    `query:"limit" default:"500" minimum:"1" maximum:"500"`
	}
	huma.Get(api, "/v1/users", func(ctx context.Context, in *usersInput) (*body[userPage], error) {
		list, err := op.Users(ctx, in.After, in.Limit)
		return answer(userPage{Users: list}, err)
	})
	huma.Get(api, "/v1/active", func(context.Context, *struct{}) (*body[activeList], error) {
		return answer(activeList{Active: op.Active()}, nil)
	})
	huma.Get(api, "/v1/status", func(ctx context.Context, _ *struct{}) (*body[Status], error) {
		return answer(op.Status(ctx), nil)
	})
	huma.Get(api, "/v1/address", func(context.Context, *struct{}) (*body[Address], error) {
		return answer(op.Address(), nil)
	})
	registerActions(api, op)
	registerWatch(api, op)
}

func registerActions(api huma.API, op Operator) {
	type nameInput struct {
		Body struct {
			Name string `json:"name" maxLength:"288"`
		}
	}
	type banInput struct {
		Body struct {
			Name   string `json:"name" maxLength:"288"`
			Reason string `json:"reason,omitempty" maxLength:"200"`
		}
	}
	huma.Post(api, "/v1/ban", func(ctx context.Context, in *banInput) (*body[kicked], error) {
		n, err := op.Ban(ctx, in.Body.Name, in.Body.Reason)
		return answer(kicked{Connections: n}, err)
	})
	huma.Post(api, "/v1/unban", func(ctx context.Context, in *nameInput) (*body[kicked], error) {
		return answer(kicked{}, op.Unban(ctx, in.Body.Name))
	})
	huma.Post(api, "/v1/kick", func(ctx context.Context, in *nameInput) (*body[kicked], error) {
		n, err := op.Kick(ctx, in.Body.Name)
		return answer(kicked{Connections: n}, err)
	})
	type inviteInput struct {
		Body struct {
			Uses      int   `json:"uses" minimum:"1" maximum:"1000000" default:"1"`
			ExpiresMS int64 `json:"expires_ms,omitempty" minimum:"0" doc:"Lifetime in milliseconds; 0 is no end."`
		}
	}
	huma.Post(api, "/v1/invite", func(ctx context.Context, in *inviteInput) (*body[Invite], error) {
		invite, err := op.Invite(ctx, in.Body.Uses, time.Duration(in.Body.ExpiresMS)*time.Millisecond)
		return answer(invite, err)
	})
}

func registerWatch(api huma.API, op Operator) {
	type watchInput struct {
		Bytes bool `query:"bytes" doc:"With the ciphertext."`
	}
	sse.Register(api, huma.Operation{
		OperationID: "watch", Method: http.MethodGet, Path: "/v1/watch", Summary: "Envelopes as they pass",
	}, map[string]any{"envelope": Envelope{}, "watching": watching{}}, func(ctx context.Context, in *watchInput, send sse.Sender) {
		passing := op.Watch(ctx, in.Bytes)
		// Told at once, so that the caller knows that nothing from here on is missed.
		if err := send.Data(watching{V: 1}); err != nil {
			return
		}
		for e := range passing {
			if err := send.Data(e); err != nil {
				return
			}
		}
	})
}

type (
	userPage struct {
		Users []User `json:"users"`
	}
	activeList struct {
		Active []Active `json:"active"`
	}
	kicked struct {
		Connections int `json:"connections"`
	}
	watching struct {
		V int `json:"v"`
	}
	body[T any] struct{ Body T }
)

// answer wraps a result for huma, and an error with the status that its code deserves.
func answer[T any](v T, err error) (*body[T], error) {
	if err == nil {
		return &body[T]{Body: v}, nil
	}
	status := http.StatusInternalServerError
	switch rendezvous.CodeOf(err) {
	case rendezvous.CodeNoSuchUser:
		status = http.StatusNotFound
	case rendezvous.CodeNameNotAllowed, rendezvous.CodeBadRequest:
		status = http.StatusUnprocessableEntity
	}
	return nil, huma.NewError(status, err.Error())
}
