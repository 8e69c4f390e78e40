package fault

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// System calls, as strace has them.
const (
	syncs   = "fsync,fdatasync,sync_file_range"               // make something durable
	durable = "fsync,fdatasync,ftruncate,/unlink.*,/rename.*" // those that make, move or remove something durable
)

// tracer is an strace that changes what a program's system calls do.
type tracer struct {
	t   testing.TB
	cmd *exec.Cmd
	log string // file: one line for each traced call

	mu    sync.Mutex // guards the following
	said  bytes.Buffer
	ready chan struct{} // closed when it has attached; nil afterwards
}

// Write is standard error of strace.
func (r *tracer) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said.Write(b)
	if r.ready != nil && strings.Contains(r.said.String(), " attached") {
		close(r.ready)
		r.ready = nil
	}
	return len(b), nil
}

// attach has the calls of a running program do something else, as in inject("fsync", "error=EIO"), until detach or its end.
func attach(t testing.TB, p *stage.Process, calls, what string) *tracer {
	t.Helper()
	r := &tracer{t: t, log: filepath.Join(t.TempDir(), "log"), ready: make(chan struct{})}
	args := []string{"-f", "-o", r.log, "-e", "trace=" + calls}
	if what != "" {
		args = append(args, "-e", "inject="+calls+":"+what)
	}
	r.cmd = exec.Command("strace", append(args, "-p", fmt.Sprint(p.Cmd.Process.Pid))...)
	r.cmd.Stderr = r
	ready := r.ready
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.detach)
	select {
	case <-ready:
	case <-time.After(patience):
		t.Fatalf("strace does not attach to %s: %s", p.Name, r.said.String())
	}
	return r
}

// detach lets the program be.
func (r *tracer) detach() {
	if r.cmd.ProcessState != nil {
		return
	}
	_ = r.cmd.Process.Signal(os.Interrupt) // an error says that it has ended
	late := time.AfterFunc(5*time.Second, func() { _ = r.cmd.Process.Kill() })
	defer late.Stop()
	_ = r.cmd.Wait() // by a signal
}

// met waits until the program has made one of the calls: what nothing has met was not survived either.
func (r *tracer) met() {
	r.t.Helper()
	stage.Eventually(r.t, "a call that is meddled with", func() bool { return r.calls() > 0 })
}

// calls is how many of the traced calls there were so far.
func (r *tracer) calls() int {
	r.t.Helper()
	content, err := os.ReadFile(r.log)
	if err != nil {
		r.t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(content)) {
		if strings.Contains(line, "(") && !strings.Contains(line, "resumed>") {
			n++
		}
	}
	return n
}
