package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strings"

	"golang.org/x/term"

	"github.com/byway-chat/byway/peer"
	"github.com/byway-chat/byway/rendezvous"
)

// maxSecret is how many bytes of a password file or a command's output are looked at.
const maxSecret = 4096

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

// askPassword reads without echo. The prompt goes to standard error, which --json leaves free.
func (p *program) askPassword(ctx context.Context, name string, repeat bool) ([]byte, error) {
	first, err := p.readSecret(ctx, fmt.Sprintf("Password for %s: ", clean(name)))
	if err != nil || !repeat {
		return first, err
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

// readSecret gives the terminal its echo back when ctx ends first. What reads then goes on until the process ends: nothing can interrupt it.
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
	if err != nil || len(secret) == 0 {
		return nil, &peer.Error{Code: peer.CodeNotSignedIn, Message: "no password was typed", Hint: hintPassword, Err: err}
	}
	return secret, nil
}

// newName is the name for an empty home: --user, or what the person says, or the operating system's.
func (p *program) newName(ctx context.Context) (string, error) {
	if p.flags.user != "" {
		return p.flags.user, nil
	}
	var suggestion string
	if u, err := user.Current(); err == nil {
		suggestion = u.Username
	}
	if isTerminal(p.stdin) {
		fmt.Fprintf(p.stderr, "Choose a name [%s]: ", clean(suggestion))
		typed := make(chan string, 1)
		go func() { typed <- readLine(p.stdin) }()
		select {
		case line := <-typed:
			if line != "" {
				return line, nil
			}
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	if _, err := rendezvous.ParseUsername(suggestion); err != nil {
		return "", &peer.Error{
			Code: peer.CodeNameNotAllowed, Message: "no name is given, and the operating system's cannot be one", Hint: "give one with --user NAME", Err: err,
		}
	}
	return suggestion, nil
}

// readLine reads byte by byte: what follows the line on the terminal belongs to somebody else. It is bounded, and empty at the end of input.
func readLine(r io.Reader) string {
	var line strings.Builder
	for b := make([]byte, 1); line.Len() < maxSecret; {
		n, err := r.Read(b)
		if n == 1 && b[0] != '\n' {
			line.WriteByte(b[0])
		}
		if err != nil || n == 1 && b[0] == '\n' {
			break
		}
	}
	return strings.TrimSpace(line.String())
}
