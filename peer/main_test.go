package peer

import (
	"bufio"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// homeHolder names, in the environment of this test binary, the home that it is to hold as a process of its own, instead of testing anything.
const homeHolder = "BYWAY_TEST_HOLD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(homeHolder); dir != "" {
		holdHome(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// holdHome is what TestLock runs as another process. It ends when the test is done with it, or dead.
func holdHome(dir string) {
	h, err := openHome(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = h.close() }()
	fmt.Println("held")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
}
