package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/peer/api"
)

func (p *program) registerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "register", Short: "register --user as a new name on this home", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.register(cmd.Context()) },
	}
}

func (p *program) loginCommand() *cobra.Command {
	return &cobra.Command{
		Use: "login", Short: "sign in to an existing name; makes this home a device of the account", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.login(cmd.Context()) },
	}
}

// register never signs in: a home that has an account is refused, too.
func (p *program) register(ctx context.Context) error {
	home, err := peer.Inspect(p.flags.home)
	if err != nil {
		return err
	}
	if home.Exists {
		return &peer.Error{
			Code: peer.CodeNameTaken, Message: fmt.Sprintf("this home belongs to %s already", home.User),
			Hint: "choose another directory with --home, or use it as it is",
		}
	}
	return p.signIn(ctx, need{enrol: true, signIn: peer.SignInRegister, own: true}, "registered as")
}

// login proves the password. A home that is enrolled proves it by opening the key file. Where no password is given to a home whose
// peer runs, or the key file needs none, nothing is proven, and it only says who is signed in.
func (p *program) login(ctx context.Context) error {
	home, err := peer.Inspect(p.flags.home)
	if err != nil {
		return err
	}
	done := "signed in as"
	if home.Exists {
		done = "this home is already signed in as"
		if err := p.checkPassword(ctx, home); err != nil {
			return err
		}
	}
	return p.signIn(ctx, need{enrol: true, signIn: peer.SignInLogin}, done)
}

// checkPassword tries the password that is given on the key file of a home whose peer runs: that one asks nobody for it. Without a running
// peer the one that is started opens the key file.
func (p *program) checkPassword(ctx context.Context, home peer.HomeInfo) error {
	if !home.NeedsPassphrase || p.flags.passwordFile == "" && p.flags.passwordCommand == "" {
		return nil
	}
	client, err := p.dial(ctx)
	if errors.Is(err, api.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	client.Close()
	secret, err := p.password(false)(ctx, peer.PasswordOpen, home.User)
	if err != nil {
		return err
	}
	return peer.CheckPassword(p.flags.home, secret)
}

func (p *program) signIn(ctx context.Context, n need, done string) (err error) {
	s, err := p.open(ctx, n)
	if err != nil {
		return err
	}
	defer s.closeInto(&err)
	st, err := do(ctx, s, func(c *api.Client) (peer.Status, error) { return c.Status(ctx) })
	if err != nil {
		return err
	}
	if p.flags.json {
		return p.lines.entry("status", st)
	}
	return p.say("%s %s, device %s\nkey fingerprint %s", done, clean(st.User), clean(st.Device), clean(st.Fingerprint))
}

// closeInto closes the session at the end of a command and keeps the command's own error, if there is one.
func (s *session) closeInto(err *error) {
	if closing := s.Close(); *err == nil && closing != nil {
		*err = closing
	}
}
