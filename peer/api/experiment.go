package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/byway-chat/byway/peer"
)

type probeInput struct {
	Body struct {
		User string `json:"user"`
		Way  string `json:"way,omitempty" doc:"auto when absent"`
		Size int    `json:"size" minimum:"0" maximum:"65536" doc:"bytes by which it is larger than a ping"`
	}
}

type disturbInput struct {
	Body struct {
		User string  `json:"user"`
		Way  string  `json:"way,omitempty" enum:"auto,lan,direct,punched,relay" doc:"all when absent"`
		Loss float64 `json:"loss" minimum:"0" maximum:"1" doc:"share of the frames that is lost at this end, in both directions; 0 ends it"`
		MS   int64   `json:"ms" minimum:"0" maximum:"300000" doc:"how long"`
	}
}

type interruptInput struct {
	Body struct {
		MS int64 `json:"ms" minimum:"0" maximum:"300000" doc:"how long; 0 ends it"`
	}
}

func experimentRoutes(api huma.API, n node) {
	verb(api, http.MethodPost, "/v1/lab/probe", "One round trip with a ping of the size of a message", func(ctx context.Context, in *probeInput) (peer.Pong, error) {
		return n.Probe(ctx, in.Body.User, in.Body.Way, in.Body.Size)
	})
	act(api, "/v1/lab/disturb", "Lose frames on a way to a user, for a time", func(ctx context.Context, in *disturbInput) error {
		b := &in.Body
		return n.Disturb(ctx, b.User, peer.Disturbance{Way: b.Way, Loss: b.Loss, For: time.Duration(b.MS) * time.Millisecond})
	})
	act(api, "/v1/lab/interrupt", "Keep the rendezvous away, for a time", func(ctx context.Context, in *interruptInput) error {
		return n.Interrupt(ctx, time.Duration(in.Body.MS)*time.Millisecond)
	})
}

// Probe makes one round trip to user with a ping that is larger by size bytes, at most 65,536.
func (c *Client) Probe(ctx context.Context, user, way string, size int) (peer.Pong, error) {
	var in probeInput
	in.Body.User, in.Body.Way, in.Body.Size = user, way, size
	return post[peer.Pong](ctx, c, "/v1/lab/probe", in.Body, again)
}

// Disturb loses frames on a way to user, for an experiment.
func (c *Client) Disturb(ctx context.Context, user string, d peer.Disturbance) error {
	var in disturbInput
	in.Body.User, in.Body.Way, in.Body.Loss, in.Body.MS = user, d.Way, d.Loss, d.For.Milliseconds()
	_, err := post[none](ctx, c, "/v1/lab/disturb", in.Body, again)
	return err
}

// Interrupt keeps the rendezvous away for a time, for an experiment.
func (c *Client) Interrupt(ctx context.Context, long time.Duration) error {
	var in interruptInput
	in.Body.MS = long.Milliseconds()
	_, err := post[none](ctx, c, "/v1/lab/interrupt", in.Body, again)
	return err
}
