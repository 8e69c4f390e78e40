package fault

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// tools are the programs that the scenarios call. .ci/run installs each that a plain Debian has not; where one is missing, the tests fail.
var tools = []string{"cp", "go", "ip", "mkfs.ext4", "mount", "strace"}

// missingTools are those that are not here.
func missingTools() (missing []string) {
	for _, name := range tools {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	return missing
}

// ability is something that the kernel under us may not allow, even to root in namespaces of its own. Only for want of one is a scenario skipped.
type ability struct {
	lack  string // in words
	probe func(t testing.TB) error

	once    sync.Once // guards the following
	missing error
}

// The abilities that scenarios need.
var (
	tracing  = &ability{lack: "nothing can be traced here", probe: probeTracing}
	mounting = &ability{lack: "no file can be mounted here", probe: probeVolume}
	linking  = &ability{lack: "no networks of TUN devices can be made here", probe: probeLink}
)

// begin is the first line of every scenario and every control: it runs beside the others, and is skipped, which the last line of all says, where it
// cannot get what it needs. A scenario names what its control needs too: it proves nothing without.
func begin(t *testing.T, needs ...*ability) {
	t.Helper()
	t.Parallel()
	why := ""
	t.Cleanup(func() { summary.ended(t.Name(), t.Skipped(), why) })
	for _, need := range needs {
		need.once.Do(func() { need.missing = need.probe(t) })
		if need.missing != nil {
			why = fmt.Sprintf("%s: %v", need.lack, need.missing)
			t.Skip("skipped: " + why)
		}
	}
}

// size is the one number in the short form, and the other in the long one.
func size(short, longer int) int {
	if long {
		return longer
	}
	return short
}

func probeTracing(testing.TB) error {
	return run("strace", "-o", os.DevNull, "true")
}

func probeVolume(t testing.TB) error {
	v := makeVolume(t)
	if err := v.mount(); err != nil {
		return err
	}
	v.unmount()
	return nil
}

func probeLink(testing.TB) error {
	const space = "bw-probe"
	if err := run("ip", "netns", "add", space); err != nil {
		return err
	}
	if err := run("ip", "netns", "del", space); err != nil {
		return err
	}
	tun, err := stage.OpenTUN("probe0")
	if err != nil {
		return err
	}
	return tun.Close()
}

// run runs a command to its end; the error has what it said.
func run(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
