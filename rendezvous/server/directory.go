package server

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/byway-chat/byway/rendezvous"
)

// maxFoundBytes leaves room in a frame for what is around the records.
const maxFoundBytes = rendezvous.MaxFrame - 1<<10

// publish replaces this device's bundle, its addresses, or from whom those are withheld.
func (c *conn) publish(ctx context.Context, p *rendezvous.Publish) (*rendezvous.Frame, error) {
	if err := allow(c.published); err != nil {
		return nil, err
	}
	if err := c.server.directory.Publish(ctx, c.signed.Load(), p); err != nil {
		return nil, err
	}
	return &rendezvous.Frame{Body: &rendezvous.Frame_Done{Done: &rendezvous.Done{}}}, nil
}

// lookup returns as many of the records asked for as fit into one frame, at least one; the client asks again for the rest.
func (c *conn) lookup(ctx context.Context, l *rendezvous.Lookup) (*rendezvous.Frame, error) {
	if err := allow(c.asked); err != nil {
		return nil, err
	}
	found, err := c.server.directory.Lookup(ctx, c.signed.Load(), l)
	if err != nil {
		return nil, err
	}
	size := 0
	for i, r := range found.GetRecords() {
		size += proto.Size(r) + 8
		if size > maxFoundBytes && i > 0 {
			found.Records = found.Records[:i]
			break
		}
	}
	return &rendezvous.Frame{Body: &rendezvous.Frame_Found{Found: found}}, nil
}

// list returns a page of names.
func (c *conn) list(ctx context.Context, l *rendezvous.List) (*rendezvous.Frame, error) {
	if err := allow(c.asked); err != nil {
		return nil, err
	}
	listed, err := c.server.directory.List(ctx, l)
	if err != nil {
		return nil, err
	}
	return &rendezvous.Frame{Body: &rendezvous.Frame_Listed{Listed: listed}}, nil
}
