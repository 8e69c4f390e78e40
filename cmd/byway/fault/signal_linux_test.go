package fault

import (
	"bytes"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// TestSecondSignal has both programs hang as they leave, where they remove their sockets. A second SIGTERM ends them at once, with the exit code of an
// interruption. Asked once, which is the control, they leave well when they hang no more.
func TestSecondSignal(t *testing.T) {
	roll.Begin(t, tracing)
	for again, code := range map[bool]int{false: 0, true: 130} {
		t.Run(fmt.Sprintf("again %v", again), func(t *testing.T) {
			c := newCast(t, setting{people: 1})
			up := c.person("alice").Open("up")
			up.Await("ready", func(e stage.Event) bool { return e.Type == "ready" })
			for _, p := range []*stage.Process{up.Process, c.o.Process} {
				hanging := attach(t, p, "/unlink.*", "delay_enter=60000000")
				terminate(t, p)
				hanging.met()
				if again {
					terminate(t, p)
					stage.Eventually(t, p.Name+" is dead", func() bool { return dead(t, p) })
				}
				hanging.detach()
				if got := p.Wait(); got != code {
					t.Errorf("%s: exit code %d, want %d\n%s", p.Name, got, code, p.Stderr())
				}
			}
		})
	}
}

func terminate(t testing.TB, p *stage.Process) {
	t.Helper()
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// dead says whether a process has ended, but for threads that somebody traces.
func dead(t testing.TB, p *stage.Process) bool {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Contains(status, []byte(") Z "))
}
