// Package prove_test shows what was promised of the two programs, on the programs themselves: it builds both, runs them as people and
// operators do, breaks things around them, and looks from outside. Nothing of theirs is imported for that but the key file's reader and the wire
// client, which serve as the eyes of an attacker. What needs a network of its own is skipped where no network namespace can be made.
package prove_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long anything that must happen may take. Only a failure takes so long.
const patience = 90 * time.Second

// binaries is where TestMain has built both programs.
var binaries string

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("skipped: builds and runs the programs")
		return
	}
	dir, err := os.MkdirTemp("", "bw-prove-")
	if err == nil {
		binaries = dir
		err = build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		_ = os.RemoveAll(dir)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

func build(dir string) error {
	out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "..", "../../rendezvous").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}

// process is a program that runs. Its output is kept; a test may look at it while it runs.
type process struct {
	t     testing.TB
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{} // closed when it has ended and all output is here

	mu      sync.Mutex // guards the following
	out     []string   // lines of standard output
	errors  bytes.Buffer
	changed chan struct{} // closed and replaced at each line and at the end
}

// launch says how a program is started.
type launch struct {
	name  string
	netns string   // network namespace; empty: ours
	args  []string // the program, one of ours, and its arguments
	env   []string // added to a small environment of its own
	uid   uint32   // the user to run as, where it is not ours
}

// command is the program with an environment that holds nothing of ours.
func (l launch) command(ctx context.Context) *exec.Cmd {
	args := append([]string{filepath.Join(binaries, l.args[0])}, l.args[1:]...)
	if l.netns != "" {
		args = append([]string{"ip", "netns", "exec", l.netns}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "TERM=xterm", "HOME=" + os.DevNull}, l.env...)
	if l.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: l.uid, Gid: l.uid}}
	}
	return cmd
}

// start runs a program until the test ends at the latest.
func start(t testing.TB, l launch) *process {
	t.Helper()
	p := &process{t: t, name: l.name, cmd: l.command(context.Background()), ended: make(chan struct{}), changed: make(chan struct{})}
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin, p.cmd.Stderr = stdin, (*processErrors)(p)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.collect(stdout)
	t.Cleanup(p.kill)
	return p
}

func (p *process) collect(stdout io.Reader) {
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
	_ = p.cmd.Wait() // its state says how it ended
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.ended)
	p.tellLocked()
}

func (p *process) tellLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// processErrors is a process as the writer of its standard error.
type processErrors process

func (e *processErrors) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.errors.Write(b)
}

// stderr is what it has written to standard error so far.
func (p *process) stderr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.errors.String()
}

// stdout is what it has written to standard output so far.
func (p *process) stdout() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.out, "\n")
}

// next returns line n of standard output, counted from 0, when it is there; false when the process has ended before.
func (p *process) next(n int, deadline <-chan time.Time) (string, bool) {
	for {
		p.mu.Lock()
		have, changed := len(p.out), p.changed
		if n < have {
			defer p.mu.Unlock()
			return p.out[n], true
		}
		p.mu.Unlock()
		select {
		case <-p.ended:
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

// write types one line.
func (p *process) write(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.t.Fatalf("%s: standard input: %v", p.name, err)
	}
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // an error says that it has ended already
	<-p.ended
}

// stop asks it to leave and returns the exit code.
func (p *process) stop() int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
	return p.wait()
}

// wait returns the exit code when it has ended.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Errorf("%s does not end\n%s", p.name, p.stderr())
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

// result is how a program that has ended came out.
type result struct {
	code   int
	out    string
	errors string
	took   time.Duration
}

// run runs a program to its end.
func run(t testing.TB, l launch, stdin string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := l.command(ctx)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	began := time.Now()
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		t.Fatalf("%v: %v", l.args, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%v does not end\n%s%s", l.args, out.String(), errs.String())
	}
	return result{code: cmd.ProcessState.ExitCode(), out: out.String(), errors: errs.String(), took: time.Since(began)}
}

// eventually waits for what another process is about to do.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen: %s", what)
		}
	}
}
