package stage

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Ability is something that the kernel under us may not allow, even to root in namespaces of its own. Only for want of one is a test skipped:
// tools can be installed, so a missing one is a failure.
type Ability struct {
	Lack  string // in words
	Probe func(t testing.TB) error

	once    sync.Once // guards the following
	missing error
}

// Linking is the ability to make namespaces and TUN devices, which a [Fabric] needs.
var Linking = &Ability{Lack: "no networks of TUN devices can be made here", Probe: probeLink}

func probeLink(testing.TB) error {
	const space = "bw-probe"
	if err := Tool("ip", "netns", "add", space); err != nil {
		return err
	}
	if err := Tool("ip", "netns", "del", space); err != nil {
		return err
	}
	tun, err := OpenTUN("probe0")
	if err != nil {
		return err
	}
	return tun.Close()
}

// MissingTools returns those of these programs that are not installed.
func MissingTools(tools ...string) (missing []string) {
	for _, name := range tools {
		if _, err := exec.LookPath(name); err != nil {
			missing = append(missing, name)
		}
	}
	return missing
}

// Tool runs a tool of the system to its end; the error has what it said.
func Tool(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Roll takes down which tests have run and which could not. The zero value is an empty one.
type Roll struct {
	mu   sync.Mutex          // guards the following
	ran  int                 // tests that were not skipped
	lack map[string][]string // those that were, by what they lacked
}

// Begin is the first line of a test: it runs beside the others, and is skipped, which Print says, where it cannot get what it needs. A test names what its
// control needs too: it proves nothing without.
func (r *Roll) Begin(t *testing.T, needs ...*Ability) {
	t.Helper()
	t.Parallel()
	why := ""
	t.Cleanup(func() { r.ended(t.Name(), t.Skipped(), why) })
	for _, need := range needs {
		need.once.Do(func() { need.missing = need.Probe(t) })
		if need.missing != nil {
			why = fmt.Sprintf("%s: %v", need.Lack, need.missing)
			t.Skip("skipped: " + why)
		}
	}
}

func (r *Roll) ended(test string, skipped bool, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !skipped {
		r.ran++
		return
	}
	if r.lack == nil {
		r.lack = map[string][]string{}
	}
	why = cmp.Or(why, "it says why above")
	r.lack[why] = append(r.lack[why], test)
}

// Print writes the last line of all: how many of these have run, and which have not.
func (r *Roll) Print(out io.Writer, these string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(out, "%d %s ran", r.ran, these)
	for _, why := range slices.Sorted(maps.Keys(r.lack)) {
		tests := r.lack[why]
		slices.Sort(tests)
		fmt.Fprintf(out, "; SKIPPED %d: %s (%s)", len(tests), strings.Join(tests, ", "), why)
	}
	if len(r.lack) == 0 {
		fmt.Fprint(out, ", none was skipped")
	}
	fmt.Fprintln(out)
}
