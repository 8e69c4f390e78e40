package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/rendezvous/admin"
	"github.com/byway-chat/byway/rendezvous/server"
)

// stepWait is how long one step of the demo may take on a slow machine.
const stepWait = 60 * time.Second

// demo is a rendezvous and two peers in this process, on loopback, in a directory that is removed at the end. Nothing in it is
// simulated: the rendezvous is what `rendezvous serve` runs, and the peers are what `byway up` runs.
type demo struct {
	*loopback
	begun time.Time // of the step that runs
	alice *actor
	bob   *actor
}

func (p *program) demoCommand() *cobra.Command {
	return &cobra.Command{
		Use: "demo", Short: "a rendezvous and two peers on this machine show the whole job and leave nothing behind", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.demo(cmd.Context()) },
	}
}

func (p *program) demo(ctx context.Context) (err error) {
	if p.flags.json {
		return usage("the demo is not JSON", "byway lab --json measures every way between two peers")
	}
	l, err := p.newLoopback()
	if err != nil {
		return err
	}
	d := &demo{loopback: l}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.play(ctx); err != nil {
		return err
	}
	if !isTerminal(p.stdin) || !isTerminal(p.stdout) {
		return p.say("done; nothing is kept")
	}
	return d.live(ctx)
}

// play shows the whole job, step by step.
func (d *demo) play(ctx context.Context) error {
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"start a rendezvous", d.startRendezvous},
		{"register alice", func(ctx context.Context) (err error) { d.alice, err = d.register(ctx, "alice"); return err }},
		{"register bob", func(ctx context.Context) (err error) { d.bob, err = d.register(ctx, "bob"); return err }},
		{"ask the operator's list", d.listUsers},
		{"send by lan", d.byLAN},
		{"send by relay", d.byRelay},
		{"send by mailbox", d.byMailbox},
		{"read the history", d.readHistory},
	} {
		d.begun = time.Now()
		timed, cancel := context.WithTimeout(ctx, stepWait)
		err := step.run(timed)
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return &peer.Error{Code: peer.CodeFailed, Message: "the demo failed to " + step.name, Err: err}
		}
	}
	return nil
}

// tell prints what a step has shown, with its time.
func (d *demo) tell(format string, args ...any) error {
	return d.p.say("%s %s  (%s)", d.p.marks().stored, fmt.Sprintf(format, args...), inWords(time.Since(d.begun)))
}

// show prints a line that belongs to the step told before.
func (d *demo) show(format string, args ...any) error {
	return d.p.say("    "+format, args...)
}

func (d *demo) startRendezvous(ctx context.Context) error {
	if err := d.start(ctx); err != nil {
		return err
	}
	return d.tell("rendezvous at %s", clean(d.address()))
}

// operator asks the rendezvous as its operator does, over the admin socket.
func (d *demo) operator() *admin.Client {
	return admin.NewClient(filepath.Join(d.dir, "rendezvous", server.SocketFile))
}

func (d *demo) register(ctx context.Context, name string) (*actor, error) {
	a, err := d.newActor(name)
	if err != nil {
		return nil, err
	}
	if err := a.arrive(ctx); err != nil {
		return nil, err
	}
	st, err := a.status(ctx)
	if err != nil {
		return a, err
	}
	return a, d.tell("%s is registered: RSA-3072 key %s…", clean(st.User), clean(st.Fingerprint[:min(16, len(st.Fingerprint))]))
}

func (d *demo) listUsers(ctx context.Context) error {
	c := d.operator()
	defer c.Close()
	rows := [][]string{{"    NAME", "ONLINE", "DEVICES", "KEY", "PASSWORD"}}
	err := c.Users(ctx, func(u admin.User) error {
		key := ""
		if len(u.Devices) > 0 {
			key = u.Devices[0].ID
		}
		rows = append(rows, []string{"    " + u.Name, yes(u.Online), fmt.Sprint(len(u.Devices)), orDash(key), u.Password})
		return nil
	})
	if err != nil {
		return err
	}
	if err := d.tell("the operator's list (rendezvous users); of the passwords it has only hashes"); err != nil {
		return err
	}
	return d.p.table(rows)
}

// deliver lets alice send text to bob and waits until he has shown it and she has his receipt.
func (d *demo) deliver(ctx context.Context, text, way string) (peer.Event, peer.Receipt, error) {
	id, err := d.alice.send(ctx, "bob", text, way)
	if err != nil {
		return peer.Event{}, peer.Receipt{}, err
	}
	got, err := d.bob.next(ctx, text)
	if err != nil {
		return got, peer.Receipt{}, err
	}
	r, err := d.alice.come(ctx, id, peer.StateDelivered)
	return got, r, err
}

// byLAN sends twice: the first message opens the connection and the session, the second shows what the way costs.
func (d *demo) byLAN(ctx context.Context) error {
	for _, m := range []struct{ title, text string }{
		{"a message by lan, the rendezvous not involved; it opens the connection and the session", "hello bob, this goes straight to you"},
		{"the next one finds both open", "and this follows on the same way"},
	} {
		d.begun = time.Now()
		got, r, err := d.deliver(ctx, m.text, "direct")
		if err != nil {
			return err
		}
		if got.Way != peer.WayLAN || r.Way != peer.WayLAN {
			return fmt.Errorf("it went by %s, as its receipt says by %s", got.Way, r.Way)
		}
		if err := d.conversation(m.title, &got, &r); err != nil {
			return err
		}
	}
	return nil
}

// conversation prints both ends of a message.
func (d *demo) conversation(title string, got *peer.Event, r *peer.Receipt) error {
	if err := d.tell("%s", title); err != nil {
		return err
	}
	if err := d.show("bob sees    %s", messageLine(got)); err != nil {
		return err
	}
	return d.show("alice sees  %s delivered %s %s", d.p.marks().delivered, clean(string(r.Way)), inWords(milliseconds(r.MS)))
}

func (d *demo) byMailbox(ctx context.Context) error {
	if err := d.bob.leave(); err != nil {
		return err
	}
	const text = "you were away, so this waited for you"
	id, err := d.alice.send(ctx, "bob", text, "auto")
	if err != nil {
		return err
	}
	stored, err := d.alice.come(ctx, id, peer.StateStored)
	if err != nil {
		return err
	}
	if err := d.tell("bob has left; a message to him is stored at the rendezvous after %s, sealed", inWords(milliseconds(stored.MS))); err != nil {
		return err
	}
	d.begun = time.Now()
	if err := d.bob.arrive(ctx); err != nil {
		return err
	}
	got, err := d.bob.next(ctx, text)
	if err != nil {
		return err
	}
	r, err := d.alice.come(ctx, id, peer.StateDelivered)
	if err != nil {
		return err
	}
	if got.Way != peer.WayMailbox {
		return fmt.Errorf("it came by %s", got.Way)
	}
	return d.conversation("bob is back and has it", &got, &r)
}

func (d *demo) readHistory(ctx context.Context) error {
	list, err := d.bob.history(ctx)
	if err != nil {
		return err
	}
	if len(list) != 4 {
		return fmt.Errorf("bob's history has %d messages, not 4", len(list))
	}
	if err := d.tell("bob's history, in the order of sending"); err != nil {
		return err
	}
	for i := range list {
		if err := d.show("%s", historyLine(&list[i])); err != nil {
			return err
		}
	}
	return nil
}

// close ends everything and removes the directory.
func (d *demo) close() error {
	var failed error
	for _, a := range []*actor{d.alice, d.bob} {
		if a != nil {
			failed = errors.Join(failed, a.leave())
		}
	}
	return errors.Join(failed, d.loopback.close())
}
