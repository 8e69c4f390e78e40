package main

import (
	"cmp"
	"fmt"
	"strings"
	"sync"

	"github.com/byway-chat/byway/peer"
)

// correspondent is whom bare text goes to: whoever was addressed last, or, before anybody was, whoever wrote last.
type correspondent struct {
	mu     sync.Mutex // guards the following
	name   string
	chosen bool // by the person, not by an incoming message
}

func (c *correspondent) choose(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.name, c.chosen = name, true
}

// suggest takes the writer of a message where the person has not chosen: a stranger's message never redirects what is being typed.
func (c *correspondent) suggest(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.chosen {
		c.name = name
	}
}

func (c *correspondent) get() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

// chatLine is what a person typed: a command with its arguments, or a text and to whom.
type chatLine struct {
	command string   // without its slash, lower case; "quit" for q! too
	args    []string // of a command
	to      string   // empty: the last correspondent
	text    string
	colon   bool // to was read from "word: text", which may have been meant as text
}

// parseChatLine reads "/command args", "q!", "bob: text", "@bob text" and bare text. A name before a colon has no space in it and one
// behind the colon, so a link or a time of day stays bare text.
func parseChatLine(line string) chatLine {
	trimmed := strings.TrimSpace(line)
	switch {
	case trimmed == "q!":
		return chatLine{command: "quit"}
	case strings.HasPrefix(trimmed, "/") && !strings.HasPrefix(trimmed, "//"):
		fields := strings.Fields(trimmed[1:])
		if len(fields) == 0 {
			return chatLine{command: "help"}
		}
		return chatLine{command: strings.ToLower(fields[0]), args: fields[1:]}
	case strings.HasPrefix(trimmed, "//"): // a text that begins with a slash
		return chatLine{text: trimmed[1:]}
	case strings.HasPrefix(trimmed, "@"):
		name, text, _ := strings.Cut(trimmed[1:], " ")
		return chatLine{to: strings.TrimSuffix(name, ":"), text: strings.TrimSpace(text)}
	}
	name, text, ok := strings.Cut(trimmed, ":")
	if ok && name != "" && !strings.ContainsAny(name, " \t") && (text == "" || text[0] == ' ' || text[0] == '\t') {
		return chatLine{to: name, text: strings.TrimSpace(text), colon: true}
	}
	return chatLine{text: trimmed}
}

// eventLine is what a chat shows of an event; empty for nothing.
func (c *chat) eventLine(e *peer.Event, ours bool) string {
	switch e.Type {
	case peer.EventMessage:
		return messageLine(e)
	case peer.EventState:
		if !ours {
			return ""
		}
		return c.stateLine(e)
	case peer.EventPresence:
		c.comings.change(e.User, e.Online != nil && *e.Online)
	case peer.EventRoute:
		return routeLine(e)
	case peer.EventRendezvous:
		return rendezvousLine(e)
	case peer.EventKey:
		return keyLine(e)
	case peer.EventGap:
		return fmt.Sprintf("* %s from %s will never come: expired on the way, or lost with a disk", numbers(e.First, e.Last), clean(e.From))
	case peer.EventWaiting:
		return waitingLine(e)
	case peer.EventError:
		return trouble(e.Message, e.Hint)
	}
	return ""
}

// waitingLine tells that there is something from a contact that cannot be shown yet.
func waitingLine(e *peer.Event) string {
	have, waits, missing := "a message", "waits", "an earlier one"
	if e.Held > 1 {
		have, waits = fmt.Sprintf("%d messages", e.Held), "wait"
	}
	if n := e.Last - e.First + 1; n > 1 {
		missing = fmt.Sprintf("%d earlier ones", n)
	}
	return fmt.Sprintf("* %s from %s %s for %s, still on the way", have, clean(e.From), waits, missing)
}

// trouble is an error and, where one is known, its cure on a line of its own.
func trouble(message, hint string) string {
	line := "error: " + clean(message)
	if hint != "" {
		line += "\nhint: " + clean(hint)
	}
	return line
}

// stateLine is a delivery mark, which names the message where several are under way.
func (c *chat) stateLine(e *peer.Event) string {
	to := clean(e.To) + c.underWay.name(e)
	took := ""
	if e.MS != nil {
		took = " " + inWords(milliseconds(*e.MS))
	}
	switch e.State {
	case peer.StateAccepted: // the person has just written it
	case peer.StateStored:
		return fmt.Sprintf("%s stored%s for %s", c.marks.stored, took, to)
	case peer.StateDelivered:
		return fmt.Sprintf("%s delivered %s%s to %s%s", c.marks.delivered, clean(string(e.Way)), took, to, behind(e.Reason))
	case peer.StateRead:
		return fmt.Sprintf("%s read by %s", c.marks.read, to)
	case peer.StateFailed:
		return fmt.Sprintf("%s not delivered to %s: %s", c.marks.failed, to, clean(e.Reason))
	}
	return ""
}

func routeLine(e *peer.Event) string {
	line := fmt.Sprintf("* the way to %s is now %s", clean(e.User), clean(cmp.Or(string(e.New), "none")))
	if e.Old != "" {
		line += ", was " + clean(string(e.Old))
	}
	if e.Why != "" {
		line += " (" + clean(e.Why) + ")"
	}
	return line
}

func rendezvousLine(e *peer.Event) string {
	if e.Connected != nil && *e.Connected {
		return "* the rendezvous is connected"
	}
	line := "* the rendezvous is not connected"
	if e.Reason != "" {
		line += ": " + clean(e.Reason)
	}
	return line
}

func keyLine(e *peer.Event) string {
	name, key := clean(e.User), clean(e.Fingerprint)
	switch {
	case e.Change == peer.KeyFirstSeen:
		return fmt.Sprintf("* first contact with %s, key %s; /verify %s compares it", name, key, name)
	case e.Change == peer.KeyDeviceAdded:
		return fmt.Sprintf("* %s has a new device, key %s; nothing is sent to it until /verify %s accept", name, key, name)
	case e.Blocked != nil && *e.Blocked:
		return fmt.Sprintf("* THE KEY OF %s HAS CHANGED to %s and is refused; ask %s by another way, then /verify %s accept", name, key, name, name)
	}
	return fmt.Sprintf("* the key of %s has changed to %s", name, key)
}
