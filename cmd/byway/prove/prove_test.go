// Package prove_test shows what was promised of the two programs, on the programs themselves: it builds both, runs them as people and
// operators do, breaks things around them, and looks from outside. Nothing of theirs is imported for that but the key file's reader and the wire
// client, which serve as the eyes of an attacker. What needs a network of its own is skipped where no network namespace can be made.
package prove_test

import (
	"flag"
	"fmt"
	"runtime"
	"strconv"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("skipped: builds and runs the programs")
		return
	}
	// Most of what these tests do is to wait for what other processes wait for.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0))) // a number is taken
	}
	stage.Main(m)
}
