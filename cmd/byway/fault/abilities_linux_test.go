package fault

import (
	"os"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// tools are the programs that the scenarios call. .ci/run installs each that a plain Debian has not; where one is missing, the tests fail.
var tools = []string{"cp", "go", "ip", "mkfs.ext4", "mount", "strace"}

// The abilities that scenarios need.
var (
	tracing  = &stage.Ability{Lack: "nothing can be traced here", Probe: probeTracing}
	mounting = &stage.Ability{Lack: "no file can be mounted here", Probe: probeVolume}
)

// roll has every scenario and every control.
var roll stage.Roll

// size is the one number in the short form, and the other in the long one.
func size(short, longer int) int {
	if long {
		return longer
	}
	return short
}

func probeTracing(testing.TB) error {
	return stage.Tool("strace", "-o", os.DevNull, "true")
}

func probeVolume(t testing.TB) error {
	v := makeVolume(t)
	if err := v.mount(); err != nil {
		return err
	}
	v.unmount()
	return nil
}
