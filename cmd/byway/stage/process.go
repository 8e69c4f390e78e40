package stage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long anything that must happen may take. Only a failure takes so long.
const Patience = 90 * time.Second

// Binaries is where Build has put both programs.
var Binaries string

// Build builds both programs into dir, which is the caller's to remove, and has Launch take them from there.
func Build(dir string) error {
	Binaries = dir
	const module = "github.com/byway-chat/byway"
	out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator), module+"/cmd/byway", module+"/cmd/rendezvous").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}

// Process is a program that runs. Its output is kept; a test may look at it while it runs.
type Process struct {
	T     testing.TB
	Name  string
	Cmd   *exec.Cmd
	stdin io.WriteCloser
	Ended chan struct{} // closed when it has ended and all output is here

	mu      sync.Mutex // guards the following
	out     []string   // lines of standard output
	errors  bytes.Buffer
	changed chan struct{} // closed and replaced at each line and at the end
}

// Launch says how a program is started.
type Launch struct {
	Name  string
	Netns string   // network namespace; empty: ours
	Under []string // a program that runs it, and its arguments: strace
	Args  []string // the program, one of ours, and its arguments
	Env   []string // added to a small environment of its own
	UID   uint32   // the user to run as, where it is not ours
}

// Command is the program with an environment that holds nothing of ours.
func (l Launch) Command(ctx context.Context) *exec.Cmd {
	args := append([]string{filepath.Join(Binaries, l.Args[0])}, l.Args[1:]...)
	args = append(slices.Clone(l.Under), args...)
	if l.Netns != "" {
		args = append([]string{"ip", "netns", "exec", l.Netns}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "TERM=xterm", "HOME=" + os.DevNull}, l.Env...)
	if l.UID != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: l.UID, Gid: l.UID}}
	}
	return cmd
}

// Start runs a program until the test ends at the latest.
func Start(t testing.TB, l Launch) *Process {
	t.Helper()
	p := &Process{T: t, Name: l.Name, Cmd: l.Command(context.Background()), Ended: make(chan struct{}), changed: make(chan struct{})}
	stdin, err := p.Cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.Cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin, p.Cmd.Stderr = stdin, (*processErrors)(p)
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.collect(stdout)
	t.Cleanup(p.Kill)
	return p
}

func (p *Process) collect(stdout io.Reader) {
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			p.mu.Lock()
			p.out = append(p.out, strings.TrimSuffix(line, "\n"))
			p.tellLocked()
			p.mu.Unlock()
		}
		if err != nil {
			break
		}
	}
	_ = p.Cmd.Wait() // its state says how it ended
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.Ended)
	p.tellLocked()
}

func (p *Process) tellLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// processErrors is a process as the writer of its standard error.
type processErrors Process

func (e *processErrors) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.errors.Write(b)
}

// Stderr is what it has written to standard error so far.
func (p *Process) Stderr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.errors.String()
}

// Stdout is what it has written to standard output so far.
func (p *Process) Stdout() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.out, "\n")
}

// Next returns line n of standard output, counted from 0, when it is there; false when the process has ended before.
func (p *Process) Next(n int, deadline <-chan time.Time) (string, bool) {
	for {
		p.mu.Lock()
		have, changed := len(p.out), p.changed
		if n < have {
			defer p.mu.Unlock()
			return p.out[n], true
		}
		p.mu.Unlock()
		select {
		case <-p.Ended:
			p.mu.Lock()
			have = len(p.out)
			p.mu.Unlock()
			if n >= have {
				return "", false
			}
		case <-changed:
		case <-deadline:
			return "", false
		}
	}
}

// Write types one line.
func (p *Process) Write(line string) {
	p.T.Helper()
	if err := p.TryWrite(line); err != nil {
		p.T.Fatal(err)
	}
}

// TryWrite is Write to a program that may have ended.
func (p *Process) TryWrite(line string) error {
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		return fmt.Errorf("%s: standard input: %w", p.Name, err)
	}
	return nil
}

// EndInput closes its standard input.
func (p *Process) EndInput() { _ = p.stdin.Close() } // an error says that it has ended

// Kill ends it as kill -9 does.
func (p *Process) Kill() {
	_ = p.Cmd.Process.Kill() // an error says that it has ended already
	<-p.Ended
}

// Stop asks it to leave and returns the exit code.
func (p *Process) Stop() int {
	p.T.Helper()
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.T.Fatal(err)
	}
	return p.Wait()
}

// Wait returns the exit code when it has ended.
func (p *Process) Wait() int {
	p.T.Helper()
	select {
	case <-p.Ended:
	case <-time.After(Patience):
		p.T.Errorf("%s does not end\n%s", p.Name, p.Stderr())
		p.Kill()
	}
	return p.Cmd.ProcessState.ExitCode()
}

// Result is how a program that has ended came out.
type Result struct {
	Code   int
	Out    string
	Errors string
	Took   time.Duration
}

// Run runs a program to its end.
func Run(t testing.TB, l Launch, stdin string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	cmd := l.Command(ctx)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	began := time.Now()
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatalf("%v: %v", l.Args, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%v does not end\n%s%s", l.Args, out.String(), errs.String())
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Out: out.String(), Errors: errs.String(), Took: time.Since(began)}
}

// Eventually waits for what another process is about to do.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !done(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}
