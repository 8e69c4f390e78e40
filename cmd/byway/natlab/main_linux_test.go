package natlab

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// formVariable chooses the form in the environment: "short" or "long"; without it nothing runs.
const formVariable = "BYWAY_LAB"

// long tells that this is no short run.
var long = os.Getenv(formVariable) == "long"

// tools are the programs that the laboratory calls. .ci/run installs each that a plain Debian has not; where one is missing, the tests fail.
var tools = []string{"ip", "nft", "miniupnpd"}

// translating is the ability to translate and filter addresses.
var translating = &stage.Ability{Lack: "the kernel has no rules of nftables as routers need them", Probe: probeRules}

// roll has every test.
var roll stage.Roll

func TestMain(m *testing.M) {
	flag.Parse()
	missing := stage.MissingTools(tools...)
	switch {
	case os.Getenv(formVariable) == "":
		fmt.Println("skipped: make lab runs these tests")
	case os.Geteuid() != 0:
		fmt.Fprintln(os.Stderr, "the laboratory needs root: it makes networks")
		os.Exit(1)
	case len(missing) > 0:
		fmt.Fprintf(os.Stderr, "the laboratory needs %s; .ci/run installs them\n", strings.Join(missing, ", "))
		os.Exit(1)
	default:
		stage.Main(m, func() {
			results.print(os.Stdout)
			outages.print(os.Stdout)
			roll.Print(os.Stdout, "tests of networks")
		})
	}
}
