package stage

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Main is the TestMain of a package that runs the programs: it builds them, runs the tests, removes what was built, and calls each of last with standard
// output open. No goroutine may be left.
func Main(m *testing.M, last ...func()) {
	dir, err := os.MkdirTemp("", "bw-stage-")
	if err == nil {
		err = Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		_ = os.RemoveAll(dir)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		for _, f := range last {
			f()
		}
		os.Exit(code)
	}))
}
