package measure_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The flags of a run; they follow the package on the command line of go test.
var (
	span    = flag.Duration("span", 3*time.Second, "how long each thing is measured, warm-up not counted; 1s with -short")
	table   = flag.String("table", "", "write all figures of the run to this file, as Markdown tables")
	profile = flag.String("profile", "", "write CPU profiles of the rendezvous, and of each peer under its last load, to files whose names begin so")
	peerEnv = flag.String("peer-env", "", "variables for the environment of the peers, such as GOMAXPROCS=1, with blanks between them")
)

// roleVariable makes the test binary, which starts itself, the hub, a rendezvous or a peer.
const roleVariable = "BYWAY_MEASURE_ROLE"

// binaries is where TestMain has built both programs, and people holds accounts for all measurements.
var (
	binaries string
	people   *town
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "hub":
		os.Exit(hubMain())
	case "rendezvous":
		os.Exit(rendezvousMain())
	case "peers":
		os.Exit(puppetsMain())
	}
	flag.Parse()
	if testing.Short() && flag.Lookup("test.bench").Value.String() == "" {
		fmt.Println("skipped: builds and runs the programs")
		return
	}
	dir, err := os.MkdirTemp("", "byway-measure-")
	if err == nil {
		binaries, people = filepath.Join(dir, "bin"), newTown(filepath.Join(dir, "town"))
		err = build(binaries)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		_ = os.RemoveAll(dir)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if err := taken.write(*table); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

func build(dir string) error {
	out, err := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "..", "../../rendezvous").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return nil
}
