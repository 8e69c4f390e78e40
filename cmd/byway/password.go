package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strings"

	"golang.org/x/term"

	"github.com/byway-chat/byway/crypto/password"
	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/rendezvous"
)

// maxSecret is how many bytes of a password file or a command's output are looked at.
const maxSecret = 4096

// maxTries is how often a person is asked for the same thing.
const maxTries = 3

// hintPassword is the cure where nobody can be asked.
const hintPassword = "give it with --password-file FILE or BYWAY_PASSWORD_COMMAND, or run this on a terminal"

// password is the peer's source of the password: the file, the command, or the person at the terminal. repeat asks a new one twice.
func (p *program) password(repeat bool) func(context.Context, peer.PasswordUse, string) ([]byte, error) {
	return func(ctx context.Context, why peer.PasswordUse, name string) ([]byte, error) {
		switch {
		case p.flags.passwordFile != "":
			return passwordFromFile(p.flags.passwordFile)
		case p.flags.passwordCommand != "":
			return passwordFromCommand(ctx, p.flags.passwordCommand)
		case isTerminal(p.stdin):
			return p.askPassword(ctx, name, repeat && why == peer.PasswordSignIn)
		}
		return nil, &peer.Error{Code: peer.CodeNotSignedIn, Message: "a password is needed", Hint: hintPassword, Err: peer.ErrNoPassword}
	}
}

func passwordFromFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &peer.Error{Code: peer.CodeNotSignedIn, Message: "the password file cannot be read", Hint: hintPassword, Err: err}
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return nil, &peer.Error{Code: peer.CodeNotSignedIn, Message: "the password file cannot be read", Hint: hintPassword, Err: err}
	}
	return firstLine(data, "the password file")
}

func passwordFromCommand(ctx context.Context, command string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "/bin/sh", "-c", command).Output()
	if err != nil {
		return nil, &peer.Error{Code: peer.CodeNotSignedIn, Message: "the password command failed", Hint: "run it yourself and look at what it says", Err: err}
	}
	return firstLine(out[:min(len(out), maxSecret)], "the password command's output")
}

func firstLine(data []byte, where string) ([]byte, error) {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 {
		return nil, &peer.Error{Code: peer.CodeNotSignedIn, Message: where + " has an empty first line", Hint: "the first line is the password"}
	}
	return line, nil
}

// askPassword reads without echo. The prompt goes to standard error, which --json leaves free. A password that is being chosen is asked for
// again where it cannot be used.
func (p *program) askPassword(ctx context.Context, name string, choosing bool) ([]byte, error) {
	if !choosing {
		secret, err := p.readSecret(ctx, fmt.Sprintf("Password for %s: ", clean(name)))
		if err == nil && len(secret) == 0 {
			return nil, errNothingTyped
		}
		return secret, err
	}
	var problem error
	for range maxTries {
		if problem != nil {
			fmt.Fprintf(p.stderr, "%s. Again.\n", clean(problem.Error()))
		}
		secret, err := p.choosePassword(ctx, name)
		if err == nil {
			return secret, nil
		}
		if !errors.As(err, new(*peer.Error)) {
			return nil, err
		}
		problem = err
	}
	return nil, problem
}

// errNothingTyped is an empty line where a password was asked for.
var errNothingTyped = &peer.Error{Code: peer.CodeNotSignedIn, Message: "no password was typed", Hint: hintPassword}

// choosePassword asks once for a new password, and once more to be sure of it. Its *peer.Error says why it cannot be used.
func (p *program) choosePassword(ctx context.Context, name string) ([]byte, error) {
	first, err := p.readSecret(ctx, fmt.Sprintf("Password for %s (%d characters or more): ", clean(name), password.MinLength))
	if err != nil {
		return nil, err
	}
	if len(first) == 0 {
		return nil, errNothingTyped
	}
	if _, err := password.Prepare(name, string(first)); err != nil {
		return nil, &peer.Error{
			Code: peer.CodePasswordTooWeak, Message: err.Error(),
			Hint: "several words are easy to remember; a name that is yours already is signed in to with `byway login`",
		}
	}
	second, err := p.readSecret(ctx, "The same again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, usage("the two passwords differ", "run the command again")
	}
	return first, nil
}

// cancel ends the program as Ctrl-C does: somebody typed Ctrl-D at a prompt.
func (p *program) cancel() { p.leave(leave{}) }

// readSecret reads one line, which may be empty. It gives the terminal its echo back when ctx ends first. What reads then goes on until the
// process ends: nothing can interrupt it.
func (p *program) readSecret(ctx context.Context, prompt string) ([]byte, error) {
	fd := int(p.stdin.(*os.File).Fd())
	echoing, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("preparing the terminal: %w", err)
	}
	fmt.Fprint(p.stderr, prompt)
	defer fmt.Fprintln(p.stderr)
	var secret []byte
	read := make(chan error, 1)
	go func() {
		var err error
		secret, err = term.ReadPassword(fd)
		read <- err
	}()
	select {
	case err = <-read:
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), term.Restore(fd, echoing))
	}
	switch {
	case errors.Is(err, io.EOF):
		p.cancel()
		return nil, leave{}
	case err != nil:
		return nil, &peer.Error{Code: peer.CodeNotSignedIn, Message: "no password was typed", Hint: hintPassword, Err: err}
	}
	return secret, nil
}

// newName is the name for an empty home: --user, or what the person says, or the operating system's where it can be one.
func (p *program) newName(ctx context.Context) (string, error) {
	if p.flags.user != "" {
		return p.flags.user, nil
	}
	var suggestion string
	if u, err := user.Current(); err == nil {
		suggestion = offered(u.Username)
	}
	if isTerminal(p.stdin) {
		return p.askName(ctx, suggestion)
	}
	if suggestion == "" {
		return "", errNoName
	}
	return suggestion, nil
}

// errNoName means that nobody has said a name that can be one.
var errNoName = &peer.Error{
	Code: peer.CodeNameNotAllowed, Message: "no name is given, and the operating system's cannot be one", Hint: "give one with --user NAME",
}

// offered is the system's name for the person in the form it would have here; empty where it would be refused, as root is.
func offered(system string) string {
	name, err := rendezvous.ParseUsername(system)
	if err != nil {
		return ""
	}
	return string(name)
}

// askName asks on the terminal until it hears a name that can be one. An empty suggestion is not offered.
func (p *program) askName(ctx context.Context, suggestion string) (string, error) {
	prompt := "Choose a name: "
	if suggestion != "" {
		prompt = fmt.Sprintf("Choose a name [%s]: ", suggestion)
	}
	for range maxTries {
		fmt.Fprint(p.stderr, prompt)
		type answer struct {
			line string
			err  error
		}
		typed := make(chan answer, 1)
		go func() {
			line, err := readLine(p.stdin)
			typed <- answer{line, err}
		}()
		var a answer
		select {
		case a = <-typed:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
		if a.err != nil {
			fmt.Fprintln(p.stderr)
			p.cancel()
			return "", leave{}
		}
		name := cmp.Or(a.line, suggestion)
		if _, err := rendezvous.ParseUsername(name); err != nil {
			fmt.Fprintln(p.stderr, clean(err.Error()))
			continue
		}
		return name, nil
	}
	return "", errNoName
}

// readLine reads byte by byte: what follows the line on the terminal belongs to somebody else. It is bounded. An error means that the input
// ended before the line did.
func readLine(r io.Reader) (string, error) {
	var line strings.Builder
	for b := make([]byte, 1); line.Len() < maxSecret; {
		n, err := r.Read(b)
		if n == 1 && b[0] == '\n' {
			break
		}
		if n == 1 {
			line.WriteByte(b[0])
		}
		if err != nil {
			return "", err
		}
	}
	return strings.TrimSpace(line.String()), nil
}
