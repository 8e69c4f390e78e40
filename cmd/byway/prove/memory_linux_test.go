package prove_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// scanMemory searches everything that a process can write to, and what it has mapped without a file, for each needle. It stops at nothing
// that the process does meanwhile; what moves during the search may be missed or met twice.
func scanMemory(t testing.TB, pid int, found func(haystack []byte)) (scanned int) {
	t.Helper()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		t.Skipf("skipped: the memory of a process cannot be read here: %v", err)
	}
	defer memory.Close()
	buffer := make([]byte, 4<<20)
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if !strings.HasPrefix(mode, "rw") {
			continue
		}
		const overlap = 4096
		for at := from; at < to; {
			part := buffer[:min(uint64(len(buffer)), to-at)]
			n, err := memory.ReadAt(part, int64(at))
			if n == 0 || err != nil && err != io.EOF && n < len(part) {
				break // given back meanwhile
			}
			scanned += written(part[:n], found)
			if at+uint64(n) >= to || n <= overlap {
				break
			}
			at += uint64(n) - overlap
		}
	}
	return scanned
}

// written hands on the stretches that are not all zero, which most of a Go program's memory is, and returns their length.
func written(part []byte, found func([]byte)) (length int) {
	const block = 64 << 10
	var zero [block]byte
	begin := 0
	for at := 0; at <= len(part); at += block {
		next := part[at:min(at+block, len(part))]
		if len(next) > 0 && !bytes.Equal(next, zero[:len(next)]) {
			continue
		}
		if at > begin {
			found(part[begin:at])
			length += at - begin
		}
		begin = at + len(next)
	}
	if begin < len(part) {
		found(part[begin:])
		length += len(part) - begin
	}
	return length
}

// inMemory returns how often each stands in the memory of a process: 0 is left out.
func (n needles) inMemory(t testing.TB, p *stage.Process) map[string]int {
	t.Helper()
	hits := map[string]int{}
	s := n.search()
	scanned := scanMemory(t, p.Cmd.Process.Pid, func(part []byte) { s.count(part, hits) })
	if scanned < 1<<20 {
		t.Errorf("%s: only %d bytes of memory were searched", p.Name, scanned)
	}
	t.Logf("%s: %d MiB of memory searched", p.Name, scanned>>20)
	return hits
}
