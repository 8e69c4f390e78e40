package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/byway-chat/byway/cmd/internal/ledger"
	"github.com/byway-chat/byway/cmd/internal/terminal"
	"github.com/byway-chat/byway/peer"
)

// program is one run of byway. Its fields are set before Run and not changed by it, but for those below the line.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string

	// owned by Run
	flags flags
	lines *lines                  // standard output with --json
	logs  logs                    // standard error for the log
	book  *ledger.Ledger          // remembers the messages printed; nil while no face is open
	leave context.CancelCauseFunc // ends the command as a signal would
}

// Run carries out one command line and returns its exit code. It may be called once.
func (p *program) Run(ctx context.Context, args []string) int {
	ctx, p.leave = context.WithCancelCause(ctx)
	defer p.leave(nil)
	p.lines = &lines{w: p.stdout}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(p.stdin)
	out := terminal.NewOutput(p.stdout) // for help
	root.SetOut(out)
	root.SetErr(p.stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = out.Err()
	}
	code := exitCode(ctx, err)
	if _, told := errors.AsType[outcome](err); err != nil && !told && code != exitInterrupted {
		p.flags.json = p.flags.json || terminal.WantsJSON(args, p.getenv("BYWAY_JSON")) // flags after a wrong one have not been read
		p.tell(err)
	}
	return code
}

// root is the command tree.
func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "byway",
		Short: "Chat for a network of your own",
		Long: "Chat for a network of your own. Without a command: chat; the first run registers --user with a rendezvous.\n" +
			"Every flag below has an environment form: --password-file is BYWAY_PASSWORD_FILE.\n\n" + exitHelp,
		Args:          noArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return p.chat(cmd.Context()) },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd, p.getenv); err != nil {
				return err
			}
			return p.flags.resolve(p.getenv)
		},
	}
	p.flags.register(root.PersistentFlags())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &peer.Error{Code: peer.CodeUsage, Message: flagMistake(err), Hint: cmd.CommandPath() + " --help"}
	})
	root.AddCommand(
		p.registerCommand(), p.loginCommand(),
		p.sendCommand(), p.listenCommand(), p.botCommand(), p.upCommand(),
		p.whoCommand(), p.routeCommand(), p.wayCommand(), p.pingCommand(), p.traceCommand(), p.verifyCommand(), p.historyCommand(), p.statusCommand(), p.doctorCommand(),
		p.findCommand(), p.connectCommand(), p.addressCommand(),
		p.labCommand(), p.demoCommand(), p.versionCommand(),
	)
	return root
}

// args makes cobra's complaint about arguments a usage error with a cure.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, list []string) error {
		if err := check(cmd, list); err != nil {
			return &peer.Error{Code: peer.CodeUsage, Message: err.Error(), Hint: "usage: " + cmd.UseLine()}
		}
		return nil
	}
}

var noArgs = args(cobra.NoArgs)

// tell writes an error for the person, and with --json the same as an object.
func (p *program) tell(err error) {
	if p.flags.json {
		_ = p.lines.event(errorEvent("", err))
	}
	p.complain(err)
}

// errorEvent is err as an event of the contract.
func errorEvent(re string, err error) peer.Event {
	e := peer.Event{V: 1, Type: peer.EventError, Re: re, Code: string(peer.CodeOf(err)), Message: err.Error()}
	if told, ok := errors.AsType[*peer.Error](err); ok {
		e.Hint, e.Reason = told.Hint, told.Reason
	}
	return e
}

// reasonOf is the code of why there is no way, where err is about that.
func reasonOf(err error) string {
	if told, ok := errors.AsType[*peer.Error](err); ok {
		return told.Reason
	}
	return ""
}

// isTerminal says whether a stream is one that a person sits at.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
