package natlab

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// labVariable must be set in the environment, or nothing runs.
const labVariable = "BYWAY_LAB"

func TestMain(m *testing.M) {
	flag.Parse()
	if why := unable(); why != "" {
		fmt.Println("skipped:", why)
		return
	}
	dir, err := os.MkdirTemp("", "bw-lab-")
	if err == nil {
		err = stage.Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		_ = os.RemoveAll(dir)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		results.print(os.Stdout)
		outages.print(os.Stdout)
		os.Exit(code)
	}))
}

// unable says why nothing can be run here.
func unable() string {
	if os.Getenv(labVariable) == "" {
		return "make lab runs these tests"
	}
	if os.Geteuid() != 0 {
		return "making networks needs root"
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			return tool + " is missing"
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return "there is no TUN here"
	}
	return ""
}
