package server

import (
	"context"
	"time"

	"github.com/byway-chat/byway/rendezvous"
)

// dispatch hands one frame to the handler of its message, on the reader goroutine. Handlers that may take long go through request.
func (c *conn) dispatch(ctx context.Context, f *rendezvous.Frame) {
	id := f.GetId()
	switch body := f.GetBody().(type) {
	case *rendezvous.Frame_Submit:
		m := body.Submit
		c.submit(id, m.GetDevice(), m.GetEnvelope(), m.GetLiveOnly())
		return
	case *rendezvous.Frame_Taken:
		c.taken(ctx, id, body.Taken)
		return
	case *rendezvous.Frame_Ping:
		c.pong(id, body.Ping.GetToken())
		return
	case *rendezvous.Frame_Pong:
		return
	case *rendezvous.Frame_Hello:
		answer, err := c.hello(body.Hello)
		c.reply(id, answer, err)
		return
	}
	if !c.greeted {
		c.reply(id, nil, rendezvous.Errorf(rendezvous.CodeBadRequest, "say Hello first"))
		return
	}
	if c.dispatchSession(ctx, f) {
		return
	}
	if c.signed.Load() == nil && known(f) {
		c.reply(id, nil, errNotSignedIn())
		return
	}
	switch body := f.GetBody().(type) {
	case *rendezvous.Frame_Publish:
		c.request(ctx, id, func(ctx context.Context) (*rendezvous.Frame, error) { return c.publish(ctx, body.Publish) })
	case *rendezvous.Frame_Lookup:
		c.request(ctx, id, func(ctx context.Context) (*rendezvous.Frame, error) { return c.lookup(ctx, body.Lookup) })
	case *rendezvous.Frame_List:
		c.request(ctx, id, func(ctx context.Context) (*rendezvous.Frame, error) { return c.list(ctx, body.List) })
	case *rendezvous.Frame_Watch:
		c.watch(id, body.Watch)
	default:
		c.reply(id, nil, rendezvous.Errorf(rendezvous.CodeUnknownMessage, "this rendezvous does not know that message"))
	}
}

// known reports whether f is a request that only a signed-in peer may make.
func known(f *rendezvous.Frame) bool {
	switch f.GetBody().(type) {
	case *rendezvous.Frame_Publish, *rendezvous.Frame_Lookup, *rendezvous.Frame_List, *rendezvous.Frame_Watch:
		return true
	}
	return false
}

func errNotSignedIn() error {
	return rendezvous.Errorf(rendezvous.CodeNotSignedIn, "sign in first")
}

func errBusy(why string) error {
	return &rendezvous.Error{Code: rendezvous.CodeBusy, Message: why, RetryAfter: time.Second}
}
