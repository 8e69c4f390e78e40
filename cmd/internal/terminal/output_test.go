package terminal

import (
	"bytes"
	"errors"
	"testing"
)

// brittle takes so many writes.
type brittle struct {
	bytes.Buffer
	left int
}

var errNoMore = errors.New("no more")

func (b *brittle) Write(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		return 0, errNoMore
	}
	return b.Buffer.Write(p)
}

func TestOutput(t *testing.T) {
	w := &brittle{left: 1}
	out := NewOutput(w)
	if _, err := out.Write([]byte("one")); err != nil || out.Err() != nil {
		t.Errorf("a write that succeeds: %v, %v", err, out.Err())
	}
	_, err := out.Write([]byte("two"))
	if !errors.Is(err, errNoMore) || !errors.Is(out.Err(), errNoMore) {
		t.Errorf("a write that fails: %v, %v", err, out.Err())
	}
	if w.left = 1; w.String() != "one" {
		t.Errorf("wrote %q", w)
	}
	if _, err := out.Write([]byte("three")); err != nil || !errors.Is(out.Err(), errNoMore) {
		t.Errorf("a write that succeeds after one that did not: %v, %v", err, out.Err())
	}
}

func TestWantsJSON(t *testing.T) {
	for _, row := range []struct {
		args []string
		env  string
		want bool
	}{
		{nil, "", false},
		{nil, "1", true},
		{[]string{"users", "--json"}, "", true},
		{[]string{"users", "--jsn", "--json=true"}, "", true},
		{[]string{"--json", "--json=false"}, "true", false},
		{[]string{"users", "--", "--json"}, "", false},
		{[]string{"users", "--json-lines"}, "nonsense", false},
	} {
		if got := WantsJSON(row.args, row.env); got != row.want {
			t.Errorf("%q, %q: got %v", row.args, row.env, got)
		}
	}
}
