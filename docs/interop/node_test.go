package interop_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestNode has open.mjs open every vector: what it knows, it knows from docs/protocol.md.
func TestNode(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: the second implementation was not run")
	}
	if _, err := os.Stat("node_modules/@noble/post-quantum"); err != nil {
		t.Skip("docs/interop/node_modules is missing (npm ci --prefix docs/interop): the second implementation was not run")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, node, "open.mjs", vectorFile).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got, want := strings.Count("\n"+string(out), "\nok "), len(load(t).Vectors); got != want {
		t.Errorf("%d vectors came out as expected, want %d\n%s", got, want, out)
	}
}
