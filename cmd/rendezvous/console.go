package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/byway-chat/byway/cmd/internal/terminal"
	"github.com/byway-chat/byway/rendezvous/admin"
	"github.com/byway-chat/byway/rendezvous/server"
)

// greet says on a terminal where the rendezvous is and how to join it; announced is whether the LAN can find it by itself.
func (p *program) greet(a admin.Address, announced bool) {
	fmt.Fprintln(p.out, "The rendezvous is serving. It can be reached at")
	for _, addr := range a.Addrs {
		fmt.Fprintln(p.out, "  "+addr)
	}
	here := onlyLoopback(a.Addrs)
	if announced && !here {
		fmt.Fprintln(p.out, "To join from this network, type on another machine:")
		fmt.Fprintln(p.out, "  byway")
	}
	if a.Link != "" {
		from := "anywhere that reaches it"
		if here {
			from = "this machine"
		}
		fmt.Fprintf(p.out, "To join from %s, type:\n  byway --rendezvous '%s'\n", from, a.Link)
	}
	fmt.Fprintln(p.out, "Commands here: users, active, watch, status, kick NAME, help, quit.")
}

// onlyLoopback says whether nobody on another machine can use any of the addresses.
func onlyLoopback(addrs []string) bool {
	return !slices.ContainsFunc(addrs, func(addr string) bool {
		return !strings.HasPrefix(addr, "/ip4/127.") && !strings.HasPrefix(addr, "/ip6/::1/")
	})
}

// console reads an operator's commands while the rendezvous serves in the same process. It asks over the socket, as the commands of
// other processes do.
type console struct {
	in       io.Reader
	out, err io.Writer
	data     string
	quit     func() // ends the rendezvous
	getenv   func(string) string

	// Owned by run.
	client  *admin.Client
	unwatch func() // nil: not watching
	watcher sync.WaitGroup
}

// consoleCommand is one command; the table of them is also the help.
type consoleCommand struct {
	names, args, help string // names are separated by spaces
	do                func(c *console, ctx context.Context, arg string) error
}

func consoleCommands() []consoleCommand {
	return []consoleCommand{
		{"users db", "", "every registered user", func(c *console, ctx context.Context, _ string) error {
			return showUsers(ctx, c.out, c.client, false)
		}},
		{"active", "", "who is connected now", func(c *console, ctx context.Context, _ string) error {
			return showActive(ctx, c.out, c.client, false)
		}},
		{"status", "", "uptime, traffic and health", func(c *console, ctx context.Context, _ string) error {
			s, err := c.client.Status(ctx)
			if err != nil {
				return err
			}
			return showStatus(c.out, s)
		}},
		{"watch", "[bytes]", "envelopes as they pass, until Enter", (*console).watch},
		{"kick", "NAME", "end a user's connections", func(c *console, ctx context.Context, arg string) error {
			if arg == "" {
				return errors.New("kick wants a user name")
			}
			if err := checkNameForm(arg); err != nil {
				return err
			}
			return kick(ctx, c.out, c.client, arg)
		}},
		{"help ?", "", "this list", func(c *console, _ context.Context, _ string) error { return c.help() }},
		{"quit exit q!", "", "stop the rendezvous", func(c *console, _ context.Context, _ string) error {
			c.quit()
			return nil
		}},
	}
}

// run reads lines until the input or ctx ends. A line that is being waited for keeps it until then.
func (c *console) run(ctx context.Context) {
	c.client = admin.NewClient(filepath.Join(c.data, server.SocketFile))
	defer c.client.Close()
	defer c.stopWatching()
	printer := terminal.NewPrinter("rendezvous", c.err, terminal.UTF8(c.getenv))
	lines := bufio.NewScanner(c.in)
	for lines.Scan() && ctx.Err() == nil {
		c.stopWatching()
		if err := c.line(ctx, lines.Text()); err != nil {
			printer.Error(err.Error())
			printer.Hint(verdictOf(err).hint)
		}
	}
}

func (c *console) line(ctx context.Context, text string) error {
	word, arg, _ := strings.Cut(strings.TrimSpace(text), " ")
	if word == "" {
		return nil
	}
	word = strings.ToLower(strings.TrimPrefix(word, "/"))
	for _, cmd := range consoleCommands() {
		for name := range strings.FieldsSeq(cmd.names) {
			if name != word {
				continue
			}
			arg = strings.TrimSpace(arg)
			if arg != "" && cmd.args == "" {
				return fmt.Errorf("%s takes no more words", word)
			}
			return asked(c.data, cmd.do(c, ctx, arg))
		}
	}
	return fmt.Errorf("%q is not a command here; type help", word)
}

func (c *console) help() error {
	t := newTable(c.out, "COMMAND", "")
	for _, cmd := range consoleCommands() {
		t.row(strings.ReplaceAll(cmd.names, " ", ", ")+" "+cmd.args, cmd.help)
	}
	return t.flush()
}

// watch shows envelopes until the next line is read.
func (c *console) watch(ctx context.Context, arg string) error {
	if arg != "" && arg != "bytes" && arg != "--bytes" {
		return errors.New("watch takes nothing or the word bytes")
	}
	ctx, c.unwatch = context.WithCancel(ctx)
	fmt.Fprintln(c.out, "watching; Enter ends it")
	c.watcher.Go(func() {
		if err := watch(ctx, c.out, c.client, func() {}, false, arg != ""); err != nil && ctx.Err() == nil {
			fmt.Fprintln(c.out, "watching has ended: "+terminal.Clean(err.Error()))
		}
	})
	return nil
}

func (c *console) stopWatching() {
	if c.unwatch == nil {
		return
	}
	c.unwatch()
	c.unwatch = nil
	c.watcher.Wait()
}
