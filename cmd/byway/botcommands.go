package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/rendezvous"
)

// maxID is the longest id of a command in bytes. It comes back as re in every answer.
const maxID = 128

// botCommand is one line of input. Fields that a command does not know are ignored.
type botCommand struct {
	ID      commandID `json:"id"`
	Cmd     string    `json:"cmd"`
	To      string    `json:"to"`
	User    string    `json:"user"` // the same as To
	Body    string    `json:"body"`
	Way     string    `json:"way"`
	Search  string    `json:"search"`
	Limit   int       `json:"limit"`
	Accept  bool      `json:"accept"`
	Address string    `json:"address"` // of connect
	Sweep   bool      `json:"sweep"`   // of find
	Count   int       `json:"count"`   // of ping; 1 when absent
}

func (c *botCommand) user() string {
	if c.To != "" {
		return c.To
	}
	return c.User
}

// commandID is a string, or a number as it was written.
type commandID string

// UnmarshalJSON takes both forms, for bots that count.
func (id *commandID) UnmarshalJSON(data []byte) error {
	if len(data) > maxID {
		return fmt.Errorf("the id is longer than %d bytes", maxID)
	}
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	if data[0] == '"' {
		return json.Unmarshal(data, (*string)(id))
	}
	if !bytes.ContainsAny(data[:1], "-0123456789") {
		return fmt.Errorf("the id is neither a string nor a number")
	}
	*id = commandID(data)
	return nil
}

// take begins one command and says whether it was quit. An error means that standard output is gone.
func (b *bot) take(work context.Context, line inputLine) (quit bool, err error) {
	c, err := parseCommand(line)
	if err != nil {
		if c == nil {
			return false, nil // an empty line
		}
		return false, b.p.lines.event(errorEvent(string(c.ID), err))
	}
	re := string(c.ID)
	if c.Cmd == "quit" {
		return true, b.p.lines.reply("done", re, nil)
	}
	verb, ok := botVerbs[c.Cmd]
	if !ok {
		return false, b.p.lines.event(errorEvent(re, usage(fmt.Sprintf("there is no command %q", c.Cmd), verbsOfBots())))
	}
	b.begin(work, c, verb)
	return false, nil
}

// parseCommand returns the command as far as it was understood, with an error where it was not. An empty line is nil and an error.
func parseCommand(line inputLine) (*botCommand, error) {
	c := &botCommand{}
	switch {
	case line.tooLong:
		return c, &peer.Error{Code: peer.CodeTooLarge, Message: fmt.Sprintf("the line is longer than %d bytes", maxCommand)}
	case len(bytes.TrimSpace(line.text)) == 0:
		return nil, usage("empty", "")
	case !utf8.Valid(line.text):
		return c, usage("the line is not UTF-8", "")
	}
	err := json.Unmarshal(line.text, c)
	if bad, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && bad.Field != "" {
		return c, usage(fmt.Sprintf("the field %q cannot be a %s", bad.Field, bad.Value), `{"id":"1","cmd":"send","to":"bob","body":"hi"}`)
	}
	if err != nil {
		return c, &peer.Error{
			Code: peer.CodeUsage, Message: "the line is not a command", Hint: `{"id":"1","cmd":"send","to":"bob","body":"hi"}`, Err: err,
		}
	}
	return c, nil
}

// lane is the one name of all ways to write user, so that what is sent to one person stays in order.
func lane(user string) string {
	if name, err := rendezvous.ParseUsername(user); err == nil {
		return string(name)
	}
	return user
}

// begin carries the command out in a goroutine, messages to one recipient after one another. It blocks while 256 run.
func (b *bot) begin(work context.Context, c *botCommand, verb botVerb) {
	b.running <- struct{}{}
	var mine turn
	if verb.ordered {
		mine = b.lanes.join(lane(c.user()))
	}
	b.commands.Add(1)
	go func() {
		defer b.commands.Done()
		defer func() { <-b.running }()
		if verb.ordered {
			<-mine.ready
			defer b.lanes.leave(mine)
		}
		if err := verb.run(work, b, c); err != nil {
			_ = b.p.lines.event(errorEvent(string(c.ID), err))
		}
	}()
}

// botVerb answers one command; an error becomes an error event.
type botVerb struct {
	ordered bool // after earlier ones with the same recipient
	run     func(ctx context.Context, b *bot, c *botCommand) error
}

// botVerbs are the commands but quit. Each answers with objects that carry re, and last with done; send answers with state events.
var botVerbs = map[string]botVerb{
	"send":    {ordered: true, run: botSend},
	"way":     {ordered: true, run: botWay},
	"who":     {run: botWho},
	"route":   {run: botRoute},
	"ping":    {run: botPing},
	"history": {run: botHistory},
	"connect": {run: botConnect},
	"find":    {run: botFind},
	"verify":  {run: botVerify},
	"read":    {run: botRead},
	"status":  {run: botStatus},
}

// verbsOfBots lists every command in one line.
func verbsOfBots() string {
	return strings.Join(append(slices.Sorted(maps.Keys(botVerbs)), "quit"), " ")
}
