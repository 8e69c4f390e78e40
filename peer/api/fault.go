package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/byway-chat/byway/peer"
)

// Fault is a failure as it crosses the socket: the fields of a peer.Error.
type Fault struct {
	status  int
	Code    peer.Code `json:"code" doc:"the stable reason, as in error events" example:"no-such-user"`
	Message string    `json:"message" doc:"a sentence, lower case"`
	Hint    string    `json:"hint,omitempty" doc:"what to do, where it is known"`
	Reason  string    `json:"reason,omitempty" doc:"why there is no way, where that is what it is about: a code as route tells them"`
	Cause   string    `json:"cause,omitempty" doc:"the cause, for a log"`
}

// Error and GetStatus make a Fault an answer that huma writes as it is.
func (f *Fault) Error() string { return f.Message }

// GetStatus is the HTTP status, which only repeats what Code says.
func (f *Fault) GetStatus() int { return f.status }

// statusOf maps codes to HTTP statuses; what is not in it is a 500.
var statusOf = map[peer.Code]int{
	peer.CodeUsage:                 http.StatusBadRequest,
	peer.CodeUnreachable:           http.StatusServiceUnavailable,
	peer.CodeNoSuchUser:            http.StatusNotFound,
	peer.CodeNotSignedIn:           http.StatusUnauthorized,
	peer.CodeBadCredentials:        http.StatusUnauthorized,
	peer.CodeKeyChanged:            http.StatusConflict,
	peer.CodeRateLimited:           http.StatusTooManyRequests,
	peer.CodeOverQuota:             http.StatusTooManyRequests,
	peer.CodeRendezvousUnreachable: http.StatusServiceUnavailable,
	peer.CodeTooLarge:              http.StatusRequestEntityTooLarge,
	peer.CodeDiskFull:              http.StatusInsufficientStorage,
	peer.CodeTimeout:               http.StatusGatewayTimeout,
}

// faultOf is err as it crosses the socket. Both sides belong to one person, so nothing of it is held back.
func faultOf(err error) *Fault {
	e, ok := errors.AsType[*peer.Error](err)
	switch {
	case !ok && errors.Is(err, context.DeadlineExceeded):
		e = &peer.Error{Code: peer.CodeTimeout, Message: "this took too long", Err: err}
	case !ok:
		e = &peer.Error{Code: peer.CodeFailed, Message: err.Error()}
	}
	f := &Fault{status: http.StatusInternalServerError, Code: e.Code, Message: e.Message, Hint: e.Hint, Reason: e.Reason}
	if s, ok := statusOf[e.Code]; ok {
		f.status = s
	}
	if e.Err != nil {
		f.Cause = e.Err.Error()
	}
	return f
}

// err turns a Fault from the wire back into what the peer had returned.
func (f *Fault) err() error {
	e := &peer.Error{Code: f.Code, Message: f.Message, Hint: f.Hint, Reason: f.Reason}
	if f.Cause != "" {
		e.Err = errors.New(f.Cause)
	}
	return e
}

// refusal reads the body of an answer that is not a success: a Fault, or huma's description of a request that breaks the schema.
func refusal(status int, body []byte) error {
	var answer struct {
		Fault
		Detail string `json:"detail"`
		Errors []struct {
			Message  string `json:"message"`
			Location string `json:"location"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return &peer.Error{Code: peer.CodeFailed, Message: fmt.Sprintf("the running peer answered %d and no reason", status)}
	}
	if answer.Code != "" {
		return answer.err()
	}
	code := peer.CodeUsage
	switch status {
	case http.StatusRequestEntityTooLarge:
		code = peer.CodeTooLarge
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		code = peer.CodeFailed
	}
	message := answer.Detail
	for _, e := range answer.Errors {
		message += ": " + e.Location + " " + e.Message
	}
	return &peer.Error{Code: code, Message: message}
}
