package measure_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/server"
)

// patience is how long anything that must happen may take. Only a failure takes so long.
const patience = 60 * time.Second

// process is a program that runs beside the benchmark.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	errors bytes.Buffer // to be read after the end
	began  time.Time    // when it was started

	reading sync.WaitGroup // whoever reads stdout until it ends; stop waits
}

// started is every process of this run, for ownBusy.
var started struct {
	mu  sync.Mutex
	all []*process // guarded by mu
}

// start runs a program until the test ends at the latest, and on Linux no longer than this process lives. It ends at SIGTERM, and all but the
// rendezvous at the end of their standard input.
func start(tb testing.TB, env []string, name string, args ...string) *process {
	tb.Helper()
	p := &process{cmd: exec.Command(name, args...)}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "HOME=" + os.DevNull}, env...)
	p.cmd.Stderr = &p.errors
	p.cmd.SysProcAttr = bound
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	p.stdin, p.stdout, p.began = stdin, bufio.NewReader(stdout), time.Now()
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { p.stop(tb) })
	started.mu.Lock()
	started.all = append(started.all, p)
	started.mu.Unlock()
	return p
}

// stop asks the program to leave and waits until it has. It may be called again.
func (p *process) stop(tb testing.TB) {
	tb.Helper()
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.stdin.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // an error says that it has ended already
	killer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer killer.Stop()
	p.reading.Wait()
	_, _ = io.Copy(io.Discard, p.stdout)
	if err := p.cmd.Wait(); err != nil {
		tb.Errorf("%s: %v\n%s", p.cmd.Path, err, p.errors.String())
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// rendezvousProcess is a rendezvous that serves.
type rendezvousProcess struct {
	*process
	address rendezvous.Address
	ready   time.Duration // from its start until it was accepting
}

// profiles counts those written.
var profiles atomic.Int32

// serve starts a rendezvous from a copy of the town's data, in which there are at least so many devices and peers.
func serve(tb testing.TB, devices, peers int) *rendezvousProcess {
	tb.Helper()
	people.accounts(tb, devices)
	people.peers(tb, peers)
	dir := tb.TempDir()
	data, ready := filepath.Join(dir, "data"), filepath.Join(dir, "ready")
	people.copyData(tb, data)
	args := []string{"serve", "--data", data, "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--ready-file", ready, "--log-level", "error"}
	r := &rendezvousProcess{}
	if *profile == "" {
		r.process = start(tb, nil, filepath.Join(binaries, "rendezvous"), args...)
	} else {
		to := absolute(fmt.Sprintf("%s%d.prof", *profile, profiles.Add(1)))
		r.process = start(tb, []string{roleVariable + "=rendezvous", "DATA=" + data, "READY=" + ready, "PROFILE=" + to}, os.Args[0])
	}
	var told struct {
		Addrs []string `json:"addrs"`
	}
	for {
		content, err := os.ReadFile(ready)
		if err == nil && json.Unmarshal(content, &told) == nil {
			break
		}
		if time.Since(r.began) > patience {
			r.stop(tb)
			tb.Fatalf("the rendezvous is not ready\n%s", r.errors.String())
		}
		<-time.After(200 * time.Microsecond)
	}
	r.ready = time.Since(r.began)
	address, err := rendezvous.ParseAddress(told.Addrs[0])
	if err != nil {
		tb.Fatal(err)
	}
	r.address = address
	return r
}

// absolute is where a file goes that was named by whoever runs the benchmark.
func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// rendezvousMain is what `rendezvous serve` runs, with a profile of it.
func rendezvousMain() int {
	err := func() error {
		f, err := os.Create(os.Getenv("PROFILE"))
		if err != nil {
			return err
		}
		defer f.Close()
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		s, err := server.New(ctx, server.Config{
			Data: os.Getenv("DATA"), Listen: []string{"/ip4/127.0.0.1/tcp/0"}, NoMDNS: true, ReadyFile: os.Getenv("READY"),
		})
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
		return s.Run(ctx)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
