package sqlitefile

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

// fsyncVictim names, in the environment of this test binary, the database that it is to write to as a process of its own, instead of testing anything.
const fsyncVictim = "BYWAY_TEST_FSYNC_VICTIM"

func TestMain(m *testing.M) {
	if path := os.Getenv(fsyncVictim); path != "" {
		os.Exit(commitSix(context.Background(), path))
	}
	goleak.VerifyTestMain(m)
}

// commitSix is what TestFailedFsync runs under strace. It commits six rows, each by itself, says of each whether it was acknowledged, copies the log back in
// the middle, and ends without closing anything.
func commitSix(ctx context.Context, path string) (code int) {
	runtime.LockOSThread() // strace counts calls thread by thread
	f, err := Open(ctx, path, testOptions())
	if err != nil {
		fmt.Println("open", err)
		return 3
	}
	for i := range 6 {
		err := f.Update(ctx, func(tx *sql.Tx) error {
			_, err := tx.Exec("INSERT INTO mail (id, name, body) VALUES (?, 'x', zeroblob(?))", 5000+i, 100+3000*(i%3))
			return err
		})
		fmt.Println("row", 5000+i, err == nil)
		if i == 2 {
			fmt.Println("copied", f.Checkpoint(ctx) == nil)
		}
	}
	return 0
}
