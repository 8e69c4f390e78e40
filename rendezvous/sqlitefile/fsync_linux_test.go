package sqlitefile

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestFailedFsync lets each fsync of the log, of the main file and of the sums fail once. Nothing may be acknowledged that was not fsynced, and the next
// success must have written the same place anew: Linux forgets a page whose writing has failed.
func TestFailedFsync(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("there is no strace here")
	}
	base := filepath.Join(t.TempDir(), "test.db")
	f := openFile(t, base, testOptions())
	closeFile(t, f)
	if out, err := exec.Command("strace", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace cannot trace here: %v: %s", err, out)
	}
	failures := 0
	for _, file := range []string{"-wal", "", ".sums"} {
		failed := 1
		for n := 1; failed > 0; n++ { // one more than it makes, so that nothing fails
			path := snapshot(t, base)
			trace := filepath.Join(t.TempDir(), "trace")
			cmd := exec.Command("strace", "-f", "--seccomp-bpf", "-qq", "-y", "-o", trace, "-P", path+file, "-e", "trace=fsync,fdatasync,pwrite64,ftruncate",
				"-e", fmt.Sprintf("inject=fsync,fdatasync:error=EIO:when=%d", n), os.Args[0])
			cmd.Env = append(os.Environ(), fsyncVictim+"="+path)
			out, _ := cmd.Output()
			failed = checkTrace(t, trace, fmt.Sprintf("fsync %d of %q", n, file))
			failures += failed
			checkAcknowledged(t, path, string(out), fmt.Sprintf("fsync %d of %q", n, file), failed > 0)
		}
	}
	if t.Logf("%d calls failed", failures); failures < 8 {
		t.Error("too few calls failed")
	}
}

var traced = regexp.MustCompile(`(fsync|fdatasync|pwrite64)\(\d+<[^>]*>(?:, .*, (\d+), (\d+))?\) += (-?\d+)`)

// checkTrace wants every place that was written before a failed fsync to be written again before the next success, where anything is acknowledged by it.
func checkTrace(t *testing.T, trace, what string) (failed int) {
	t.Helper()
	b, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	unsure := map[int64]bool{}  // offsets whose fsync has failed
	pending := map[int64]bool{} // written since the last fsync
	lines := bufio.NewScanner(b)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := traced.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		if m[1] == "pwrite64" {
			at, _ := strconv.ParseInt(m[3], 10, 64)
			pending[at] = true
			delete(unsure, at)
			continue
		}
		if strings.HasPrefix(m[4], "-") {
			failed++
			for at := range pending {
				unsure[at] = true
			}
		} else if len(unsure) > 0 && len(pending) > 0 { // copying the log back syncs it, too, and acknowledges nothing of it
			// A shorter transaction may take the place of the one that failed: what it leaves behind it is not of the log any more.
			first := int64(1 << 62)
			for at := range pending {
				first = min(first, at)
			}
			for at := range unsure {
				if at < first {
					t.Errorf("%s: offset %d was not written again before the next success", what, at)
				}
			}
			clear(unsure)
		}
		clear(pending)
	}
	return failed
}

func checkAcknowledged(t *testing.T, path, out, what string, failed bool) {
	t.Helper()
	if strings.Contains(out, "open ") {
		if !failed {
			t.Errorf("%s: %s", what, out)
		}
	} else if acknowledged := strings.Count(out, "true"); !failed && acknowledged != 7 {
		t.Errorf("%s: nothing failed, and %d of 7 steps succeeded: %s", what, acknowledged, out)
	} else if failed && acknowledged == 7 {
		t.Errorf("%s: all was acknowledged", what)
	}
	f := openFile(t, snapshot(t, path), testOptions())
	defer closeFile(t, f)
	if f.Report() != nil {
		t.Errorf("%s: found %v", what, f.Report())
	}
	for line := range strings.Lines(out) {
		var id int
		var ok bool
		if n, _ := fmt.Sscanf(line, "row %d %t", &id, &ok); n != 2 || !ok {
			continue
		}
		var there int
		if err := f.Reader().QueryRow("SELECT count(*) FROM mail WHERE id = ?", id).Scan(&there); err != nil || there != 1 {
			t.Errorf("%s: row %d was acknowledged and is not there (%v)", what, id, err)
		}
	}
}
