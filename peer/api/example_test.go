package api_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

// A program that sends through the peer that runs for a home, and says how far the message came.
func ExampleDial() {
	ctx := context.Background()
	c, err := api.Dial(ctx, "/home/alice/.local/share/byway")
	if errors.Is(err, api.ErrGone) {
		fmt.Println("start it with: byway up")
		return
	}
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	r, err := c.Send(ctx, "bob", "hi", peer.SendOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("message", r.ID, "is", r.State)
	// Output:
	// start it with: byway up
}
