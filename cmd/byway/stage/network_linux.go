package stage

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Network makes network namespaces of the test's own and removes them at its end.
type Network struct {
	t      testing.TB
	prefix string
}

// NewNetwork skips the test where no namespace can be made.
func NewNetwork(t testing.TB) *Network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: network namespaces need root")
	}
	n := &Network{t: t, prefix: fmt.Sprintf("bw-%06x-", rand.IntN(1<<24))}
	probe := n.prefix + "probe"
	if out, err := exec.Command("ip", "netns", "add", probe).CombinedOutput(); err != nil {
		t.Skipf("skipped: no network namespace can be made here: %v %s", err, out)
	}
	n.IP("netns", "del", probe)
	return n
}

// IP runs the ip command.
func (n *Network) IP(args ...string) {
	n.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		n.t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
}

// Space makes a namespace that has nothing but loopback. What runs in it must be started after it, so that it ends before.
func (n *Network) Space(name string) string {
	n.t.Helper()
	full := n.prefix + name
	n.IP("netns", "add", full)
	n.t.Cleanup(func() { n.IP("netns", "del", full) })
	n.IP("-n", full, "link", "set", "lo", "up")
	return full
}

// Join puts a namespace on the bridge br0 of another one, with these addresses.
func (n *Network) Join(bridge, space, port string, addresses ...string) {
	n.t.Helper()
	n.IP("link", "add", port, "netns", bridge, "type", "veth", "peer", "name", "eth0", "netns", space)
	n.IP("-n", bridge, "link", "set", port, "master", "br0", "up")
	for _, a := range addresses {
		n.IP("-n", space, "addr", "add", a, "dev", "eth0")
	}
	n.IP("-n", space, "link", "set", "eth0", "up")
}

// Bridge makes a namespace that is nothing but a switch.
func (n *Network) Bridge() string {
	n.t.Helper()
	full := n.Space("lan")
	n.IP("-n", full, "link", "add", "br0", "type", "bridge")
	n.IP("-n", full, "link", "set", "br0", "up")
	return full
}

// Inside calls f on a thread that is in a namespace. What f opens stays there; what it starts on other goroutines is not there.
func Inside(t testing.TB, netns string, f func() error) {
	t.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		failed <- func() error {
			space, err := os.Open("/run/netns/" + netns)
			if err != nil {
				return err
			}
			defer func() { _ = space.Close() }()
			if err := unix.Setns(int(space.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter %s: %w", netns, err)
			}
			return f()
		}()
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

// Daemon runs a tool in a namespace until the test ends. What it prints is logged where the test fails.
func Daemon(t testing.TB, netns string, args ...string) {
	t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", netns}, args...)...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // it was killed
		if t.Failed() {
			t.Logf("%s:\n%s", args[0], said.String())
		}
	})
}
