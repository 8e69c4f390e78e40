package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/byway-chat/byway/cmd/internal/terminal"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/admin"
	"github.com/byway-chat/byway/rendezvous/server"
)

// The exit codes of the contract that this program uses.
const (
	exitDone       = 0
	exitFailed     = 1
	exitUsage      = 2
	exitNoSuchUser = 6
	exitNotServing = 10
	exitInterrupt  = 130
)

// program is one run. Its fields are what it touches of the world, immutable.
type program struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
}

// usageError is a mistake in the command line, in the environment or in the configuration file.
type usageError struct {
	err  error
	hint string // empty: the help
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{err: fmt.Errorf(format, args...)} }

// run does what args ask and returns the exit code, after having printed what went wrong.
func (p *program) run(args []string) int {
	root := p.command()
	root.SetArgs(args)
	out := terminal.NewOutput(p.out)
	root.SetOut(out)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		err = out.Err()
	}
	if err == nil {
		return exitDone
	}
	v := verdictOf(err)
	if _, told := errors.AsType[toldError](err); !told && terminal.WantsJSON(args, "") {
		_ = writeJSON(p.out, errorEvent{V: 1, Seq: 1, Type: "error", Code: v.code, Message: err.Error(), Hint: v.hint})
	}
	printer := terminal.NewPrinter("rendezvous", p.err, terminal.UTF8(p.getenv))
	printer.Error(err.Error())
	printer.Hint(v.hint)
	return v.exit
}

// errorEvent is what --json prints of an error, as byway does.
type errorEvent struct {
	V       int    `json:"v"`
	Seq     int    `json:"seq"`
	Type    string `json:"type"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// toldError is an error that the object on standard output has told already.
type toldError struct{ error }

// verdict is the exit code for an error, its code in JSON, and the cure, where one is known.
type verdict struct {
	exit       int
	code, hint string
}

func verdictOf(err error) verdict {
	if setup, ok := errors.AsType[*server.SetupError](err); ok {
		if setup.Usage {
			return verdict{exitUsage, "usage", setup.Hint}
		}
		return verdict{exitFailed, "failed", setup.Hint}
	}
	if mistake, ok := errors.AsType[*usageError](err); ok {
		return verdict{exitUsage, "usage", cmp.Or(mistake.hint, "run `rendezvous --help`, or a command with --help")}
	}
	switch {
	case errors.Is(err, admin.ErrNotServing):
		return verdict{exitNotServing, "rendezvous-unreachable", "start it with `rendezvous serve`, or name its data directory with --data DIR"}
	case rendezvous.CodeOf(err) == rendezvous.CodeNoSuchUser:
		return verdict{exitNoSuchUser, string(rendezvous.CodeNoSuchUser), hintUsers}
	}
	return verdict{exitFailed, "failed", ""}
}

// command builds the tree of commands.
func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use: "rendezvous", Short: "Serve a Byway rendezvous, or ask one that serves",
		Long: "A rendezvous signs people in, publishes their keys and carries their sealed messages, which it cannot open.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 usage, 6 no such user, 10 no rendezvous is serving.",
		SilenceErrors: true, SilenceUsage: true,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(p.in)
	root.SetErr(p.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err: err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		p.serveCommand(), p.usersCommand(), p.activeCommand(), p.statusCommand(), p.watchCommand(), p.addressCommand(),
		p.inviteCommand(), p.kickCommand(), p.banCommand(), p.unbanCommand(), p.healthCommand(), p.versionCommand(),
	)
	return root
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%q is not understood by %s", args[0], cmd.CommandPath())
	}
	return nil
}

func oneName(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s wants one user name", cmd.CommandPath())
	}
	return checkNameForm(args[0])
}

// checkNameForm refuses what has not the form of a name. Whether somebody has it the rendezvous says.
func checkNameForm(name string) error {
	if err := rendezvous.CheckNameForm(name); err != nil {
		return &usageError{err: fmt.Errorf("%q is no user name: %w", name, err), hint: hintUsers}
	}
	return nil
}

const hintUsers = "run `rendezvous users` for those there are"

// asked is the error of a question to the rendezvous that serves from data, without the words of the library that carried it.
func asked(data string, err error) error {
	if _, ok := errors.AsType[*url.Error](err); !ok {
		return err
	}
	if errors.Is(err, admin.ErrNotServing) {
		return &askError{"no rendezvous is serving from " + data, err}
	}
	if reason, ok := errors.AsType[syscall.Errno](err); ok {
		return &askError{fmt.Sprintf("the rendezvous that serves from %s cannot be asked: %v", data, reason), err}
	}
	return err
}

// askError is what is said instead of err.
type askError struct {
	message string
	err     error
}

func (e *askError) Error() string { return e.message }
func (e *askError) Unwrap() error { return e.err }

// defaultData is the data directory where none is named: $RENDEZVOUS_DATA, else the XDG data directory + /rendezvous.
func (p *program) defaultData() string {
	if dir := p.getenv("RENDEZVOUS_DATA"); dir != "" {
		return dir
	}
	if dir := p.getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "rendezvous")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "rendezvous")
	}
	return ""
}

// asking makes a command that asks a serving rendezvous.
func (p *program) asking(use, short string, args cobra.PositionalArgs, ask func(*cobra.Command, *admin.Client, []string) error) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if data == "" {
				data = p.defaultData()
			}
			client := admin.NewClient(filepath.Join(data, server.SocketFile))
			defer client.Close()
			return asked(data, ask(cmd, client, args))
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory of the rendezvous (default $RENDEZVOUS_DATA, else the XDG data directory + /rendezvous)")
	return cmd
}
