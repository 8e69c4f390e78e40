package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// What the environment says.
const (
	formVariable    = "BYWAY_FAULT"          // short or long; nothing runs without it
	sandboxVariable = "BYWAY_FAULT_PROGRAMS" // set within the sandbox: the directory of the two programs
)

// long says whether the long form runs.
var long = os.Getenv(formVariable) == "long"

// TestMain runs the tests in namespaces of their own for mounts, processes and networks: however they end, the kernel removes every mount,
// process and network of theirs. It builds the programs before, outside.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv(sandboxVariable) != "":
		inside(m)
	case os.Getenv(formVariable) == "":
		fmt.Println("skipped: make fault runs these tests")
	case os.Geteuid() != 0:
		fmt.Fprintln(os.Stderr, "faults need root: they mount disks and make networks")
		os.Exit(1)
	case len(stage.MissingTools(tools...)) > 0:
		fmt.Fprintf(os.Stderr, "faults need %s; .ci/run installs them\n", strings.Join(stage.MissingTools(tools...), ", "))
		os.Exit(1)
	default:
		os.Exit(outside())
	}
}

// outside builds the programs and runs this test once more in its sandbox.
func outside() int {
	dir, err := os.MkdirTemp("", "bw-fault-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = stage.Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	// The kernel kills the sandbox when the thread that began it ends.
	runtime.LockOSThread()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), sandboxVariable+"="+dir)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL,
	}
	if err := cmd.Start(); errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
		return allSkipped(err)
	}
	if err := cmd.Wait(); cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return max(cmd.ProcessState.ExitCode(), -cmd.ProcessState.ExitCode()) // killed by a signal: -1
}

// allSkipped says, in the words of the last line of all, that the kernel allows no sandbox. It is not a failure.
func allSkipped(why error) (code int) {
	fmt.Println("0 scenarios and controls ran; SKIPPED all (no namespaces of our own can be made here: " + why.Error() + ")")
	return 0
}

// inside makes the sandbox a place to work in, and runs the tests.
func inside(m *testing.M) {
	stage.Binaries = os.Getenv(sandboxVariable)
	if err := furnish(filepath.Join(stage.Binaries, "scratch")); errors.Is(err, unix.EPERM) {
		os.Exit(allSkipped(err))
	} else if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		summary.print(os.Stdout)
		roll.Print(os.Stdout, "scenarios and controls")
		os.Exit(code)
	}))
}

// furnish mounts what belongs to a process or network namespace, and a disk in memory for everything that the tests write: what is durable
// is shown by disks that are cut off, not by the host's.
func furnish(scratch string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	// ip netns exec copies all mounts; what we unmount must go there too, or the disk would live on.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("share mounts among our own: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	// What the programs keep in memory is theirs too: neither does it stay when the sandbox ends, nor does anybody outside touch it.
	for _, dir := range []string{"/run/netns", "/dev/shm", scratch} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("mount a disk in memory: %w", err)
		}
	}
	if err := stage.Tool("ip", "link", "set", "lo", "up"); err != nil {
		return err
	}
	return os.Setenv("TMPDIR", scratch)
}
