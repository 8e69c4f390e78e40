package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

// chatCommand is one thing to type after a slash.
type chatCommand struct {
	name, args, help string
	run              func(ctx context.Context, c *chat, args []string) error
}

// chatCommands in the order of /help; it is filled in init because /help reads it.
var chatCommands []chatCommand

func init() {
	chatCommands = []chatCommand{
		{"who", "", "users and the way to each", chatWho},
		{"route", "[USER]", "every way to USER, and why it is or is not in use", chatRoute},
		{"ping", "[USER] [COUNT]", "round trips", chatPing},
		{"way", "[USER | default] [auto|lan|direct|relay|default]", "which ways may be used with USER, or by default; without arguments what is set", chatWay},
		{"find", "[USER] [sweep]", "look for USER on this network; sweep knocks at every address of it", chatFind},
		{"connect", "[USER] ADDRESS", "open a direct way at an address that you know", chatConnect},
		{"verify", "[USER] [accept]", "the safety number; accept once both see the same", chatVerify},
		{"history", "[USER] [COUNT]", "earlier messages", chatHistory},
		{"receipts", "[on|off]", "whether contacts learn what you have read", chatReceipts},
		{"status", "", "who you are, and the rendezvous", chatStatus},
		{"help", "", "this list", chatHelp},
	}
}

// obey carries out one line and says whether the person leaves. Errors are told and the chat goes on.
func (c *chat) obey(ctx context.Context, line string) (quit bool) {
	l := parseChatLine(line)
	switch {
	case l.command == "quit" || l.command == "exit" || l.command == "q":
		return true
	case l.command != "":
		i := slices.IndexFunc(chatCommands, func(k chatCommand) bool { return k.name == l.command })
		if i < 0 {
			c.complain(usage(fmt.Sprintf("there is no command /%s", l.command), "/help lists them; // begins a text with a slash"))
			return false
		}
		if err := chatCommands[i].run(ctx, c, l.args); err != nil {
			c.complain(err)
		}
	case l.text != "" || l.to != "":
		if err := c.send(ctx, l); err != nil {
			c.complain(err)
		}
	}
	return false
}

// send sends a text, or, without one, only chooses the correspondent.
func (c *chat) send(ctx context.Context, l chatLine) error {
	to := l.to
	if to == "" {
		to = c.last.get()
	}
	if to == "" {
		return usage("to whom?", "bob: text, or @bob text; /who lists the users")
	}
	if l.text == "" {
		c.last.choose(to)
		return nil
	}
	text, err := checked(l.text)
	if err != nil {
		return err
	}
	id := c.underWay.add(text)
	ref := c.outgoing.begin(id)
	var by *api.Client
	receipt, err := do(ctx, c.s, func(cl *api.Client) (peer.Receipt, error) {
		by = cl
		return cl.Send(ctx, to, text, peer.SendOptions{Ref: ref})
	})
	if err != nil {
		c.outgoing.end(ref)
		c.underWay.drop(id)
		return c.colonHint(l, err)
	}
	_ = c.outgoing.accepted(ref, receipt, by) // the chat does not tell what is merely accepted
	c.last.choose(to)
	return nil
}

// colonHint adds to the complaint that "note: milk" has no user note how to send it as text.
func (c *chat) colonHint(l chatLine, err error) error {
	code := peer.CodeOf(err)
	if !l.colon || code != peer.CodeNoSuchUser && code != peer.CodeNameNotAllowed {
		return err
	}
	return &peer.Error{
		Code: code, Message: err.Error(),
		Hint: fmt.Sprintf("/who lists the users; @%s %s: … sends it to %[1]s as text", cmp.Or(c.last.get(), "bob"), l.to),
	}
}

// user is the first argument, or the last correspondent, and the arguments after it. Words in own are never a name.
func (c *chat) user(args []string, own ...string) (string, []string, error) {
	if len(args) > 0 && !slices.Contains(own, args[0]) {
		if _, err := strconv.Atoi(args[0]); err != nil || len(own) > 0 {
			return strings.TrimPrefix(args[0], "@"), args[1:], nil
		}
	}
	if name := c.last.get(); name != "" {
		return name, args, nil
	}
	return "", nil, usage("which user?", "name one; /who lists them")
}

func chatWho(ctx context.Context, c *chat, _ []string) error {
	list, err := do(ctx, c.s, func(cl *api.Client) ([]peer.Contact, error) { return cl.Who(ctx) })
	if err != nil {
		return err
	}
	st, err := do(ctx, c.s, func(cl *api.Client) (peer.Status, error) { return cl.Status(ctx) })
	if err != nil {
		return err
	}
	text, err := whoText(list, &st, time.Now())
	if err != nil {
		return err
	}
	return c.console.Print(text)
}

func chatRoute(ctx context.Context, c *chat, args []string) error {
	user, _, err := c.user(args)
	if err != nil {
		return err
	}
	list, err := do(ctx, c.s, func(cl *api.Client) ([]peer.RouteEntry, error) { return cl.Route(ctx, user) })
	if err != nil {
		return err
	}
	text, err := columns(routeTable(list, time.Now()))
	if err != nil {
		return err
	}
	return c.console.Print(text + routeNotes(list))
}

func chatPing(ctx context.Context, c *chat, args []string) error {
	user, rest, err := c.user(args)
	if err != nil {
		return err
	}
	count, err := number(rest, 4, 100)
	if err != nil {
		return err
	}
	for i := range count {
		pong, err := c.p.ping(ctx, c.s, user, "")
		if err != nil {
			return err
		}
		if err := c.say("%s", pongLine(i+1, pong)); err != nil {
			return err
		}
	}
	return nil
}

// number is the first argument as a number from 1 to limit.
func number(args []string, otherwise, limit int) (int, error) {
	if len(args) == 0 {
		return otherwise, nil
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 || n > limit {
		return 0, usage(fmt.Sprintf("%q is not a number from 1 to %d", args[0], limit), "")
	}
	return n, nil
}

func chatWay(ctx context.Context, c *chat, args []string) error {
	user, rest := "", args
	if len(args) > 0 {
		var err error
		// "default" alone shows, and before a policy sets, what holds for all.
		if user, rest, err = c.user(args, "auto", "lan", "direct", "relay"); err != nil {
			return err
		}
	}
	if len(rest) > 1 {
		return usage("which way?", "/way "+user+" auto, lan, direct, relay or default")
	}
	if len(rest) == 1 {
		if err := setWay(ctx, c.s, user, rest[0]); err != nil {
			return err
		}
	}
	list, err := do(ctx, c.s, func(cl *api.Client) ([]peer.WayPolicy, error) { return cl.Ways(ctx, user) })
	if err != nil {
		return err
	}
	if len(rest) == 1 && len(list) == 1 {
		return c.say("* ways with %s: %s", clean(user), clean(waysLeft(&list[0])))
	}
	return c.table(wayTable(list))
}

func chatVerify(ctx context.Context, c *chat, args []string) error {
	user, rest, err := c.user(args, "accept", "--accept")
	if err != nil {
		return err
	}
	accept := len(rest) > 0 && strings.TrimPrefix(rest[0], "--") == "accept"
	v, err := do(ctx, c.s, func(cl *api.Client) (peer.Verification, error) { return cl.Verify(ctx, user, accept) })
	if err != nil {
		return err
	}
	return c.console.Print(strings.ReplaceAll(c.p.verification(&v), "byway verify "+clean(v.User)+" --accept", "/verify "+clean(v.User)+" accept"))
}

func chatHistory(ctx context.Context, c *chat, args []string) error {
	q := peer.HistoryQuery{}
	rest := args
	if len(args) > 0 {
		if _, err := strconv.Atoi(args[0]); err != nil {
			q.User, rest = strings.TrimPrefix(args[0], "@"), args[1:]
		}
	}
	var err error
	if q.Limit, err = number(rest, 20, 10_000); err != nil {
		return err
	}
	list, err := do(ctx, c.s, func(cl *api.Client) ([]peer.HistoryEntry, error) { return cl.History(ctx, q) })
	if err != nil {
		return err
	}
	var b strings.Builder
	for i := range list {
		b.WriteString(historyLine(&list[i]) + "\n")
	}
	return c.console.Print(b.String())
}

func chatReceipts(ctx context.Context, c *chat, args []string) error {
	if len(args) > 0 {
		if args[0] != "on" && args[0] != "off" {
			return usage(fmt.Sprintf("read receipts cannot be %q", args[0]), "/receipts on, or /receipts off")
		}
		_, err := do(ctx, c.s, func(cl *api.Client) (struct{}, error) { return struct{}{}, cl.SetReadReceipts(ctx, args[0] == "on") })
		if err != nil {
			return err
		}
	}
	st, err := do(ctx, c.s, func(cl *api.Client) (peer.Status, error) { return cl.Status(ctx) })
	if err != nil {
		return err
	}
	return c.say("* read receipts are %s", onOff(st.ReadReceipts))
}

func chatStatus(ctx context.Context, c *chat, _ []string) error {
	st, err := do(ctx, c.s, func(cl *api.Client) (peer.Status, error) { return cl.Status(ctx) })
	if err != nil {
		return err
	}
	return c.table(statusTable(&st))
}

func chatHelp(_ context.Context, c *chat, _ []string) error {
	rows := [][]string{
		{"bob: text", "sends to bob; also @bob text"},
		{"text", "sends to the last correspondent"},
	}
	for _, k := range chatCommands {
		rows = append(rows, []string{strings.TrimSpace("/" + k.name + " " + k.args), k.help})
	}
	rows = append(rows, []string{"q! or /quit", "leaves"})
	return c.table(rows)
}

func (c *chat) table(rows [][]string) error {
	text, err := columns(rows)
	if err != nil {
		return err
	}
	return c.console.Print(text)
}
