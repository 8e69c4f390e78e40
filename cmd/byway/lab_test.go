package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/internal/lab"
	"github.com/byway-chat/byway/cmd/internal/lab/report"
	"github.com/byway-chat/byway/peer"
)

func TestLabOptions(t *testing.T) {
	good := labOptions{out: "x", messages: 10, size: 100, fault: 5 * time.Second}
	for _, row := range []struct {
		name       string
		change     func(*labOptions)
		loss, kill string
		wantLoss   float64
		refused    string
	}{
		{name: "nothing special"},
		{name: "a share", loss: "0.05", wantLoss: 0.05},
		{name: "percent", loss: "2.5%", wantLoss: 0.025},
		{name: "everything", loss: "1", refused: "not a share"},
		{name: "nothing lost", loss: "0", refused: "not a share"},
		{name: "not a number", loss: "NaN", refused: "not a share"},
		{name: "words", loss: "half", refused: "not a share"},
		{name: "kill the relay", kill: "relay"},
		{name: "kill a friend", kill: "bob", refused: "cannot be killed"},
		{name: "no directory", change: func(o *labOptions) { o.out = "" }, refused: "no directory"},
		{name: "no messages", change: func(o *labOptions) { o.messages = 0 }, refused: "--messages"},
		{name: "too many messages", change: func(o *labOptions) { o.messages = maxLabMessages + 1 }, refused: "--messages"},
		{name: "small texts", change: func(o *labOptions) { o.size = 1 }, refused: "--size"},
		{name: "a short fault", change: func(o *labOptions) { o.fault = time.Millisecond }, refused: "--fault-time"},
		{name: "drop a way", change: func(o *labOptions) { o.drop = "punched" }},
		{name: "drop the mailbox", change: func(o *labOptions) { o.drop = "mailbox" }, refused: "no way"},
		{name: "chat with nobody", change: func(o *labOptions) { o.chat = true }, refused: "--chat"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := good
			if row.change != nil {
				row.change(&o)
			}
			err := o.check(row.loss, row.kill)
			switch {
			case row.refused == "" && (err != nil || o.loss != row.wantLoss || o.kill != (row.kill != "")):
				t.Errorf("got %+v, %v", o, err)
			case row.refused != "" && (peer.CodeOf(err) != peer.CodeUsage || !strings.Contains(err.Error(), row.refused)):
				t.Errorf("got %v, want a mistake in the use with %q", err, row.refused)
			}
		})
	}
}

func TestLabText(t *testing.T) {
	for _, n := range []int{1, 999_999} {
		for _, size := range []int{minLabSize, 60, 5000} {
			text := labText(n, size)
			if len(text) != size || labNumber(text) != n {
				t.Errorf("got %q, which is %d", text, labNumber(text))
			}
		}
	}
	for _, other := range []string{"", "hello", "1x", " 1"} {
		if got := labNumber(other); got != 0 {
			t.Errorf("%q is number %d", other, got)
		}
	}
}

// TestLabOutput: what byway lab has written may be replaced, and nothing else.
func TestLabOutput(t *testing.T) {
	row := lab.Row{
		Kind: lab.Message, N: 1, Phase: lab.PhaseTurns, Block: 1, Asked: "lan", Way: "lan", State: lab.Delivered, Size: 20,
		Accepted: 1000, Shown: 1000, Done: 2000, Latency: 1000, Times: 1,
	}
	fresh := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		out, err := openLabOutput(fresh)
		if err != nil {
			t.Fatal(err)
		}
		figures, err := out.write(report.Facts{From: "alice", To: "bob", Kind: lab.Message}, []lab.Row{row})
		if err != nil || figures.Total.Arrived != 1 {
			t.Fatalf("got %+v, %v", figures, err)
		}
	}
	if files, err := os.ReadDir(fresh); err != nil || len(files) != 2 {
		t.Errorf("the directory holds %v, %v", files, err)
	}
	for name, spoil := range map[string]func(dir string) error{
		"another's page": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, labReport), []byte("<p>mine</p>"), 0o600)
		},
		"another's samples": func(dir string) error { return os.WriteFile(filepath.Join(dir, labSamples), []byte("a,b\n"), 0o600) },
		"an empty file":     func(dir string) error { return os.WriteFile(filepath.Join(dir, labSamples), nil, 0o600) },
		"a directory":       func(dir string) error { return os.Mkdir(filepath.Join(dir, labReport), 0o700) },
		"a link": func(dir string) error {
			return os.Symlink(filepath.Join(fresh, labReport), filepath.Join(dir, labReport))
		},
	} {
		dir := t.TempDir()
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := openLabOutput(dir); peer.CodeOf(err) != peer.CodeUsage {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
}

// TestLabVerdict: with real messages every one that is lost, doubled or late makes the command fail; probes may be lost.
func TestLabVerdict(t *testing.T) {
	for _, row := range []struct {
		name   string
		probes bool
		total  lab.Total
		ok     bool
	}{
		{"all well", false, lab.Total{Sent: 5, Arrived: 5, Seen: true}, true},
		{"given up", false, lab.Total{Sent: 5, Arrived: 4, GivenUp: 1}, true},
		{"lost", false, lab.Total{Sent: 5, Arrived: 4, Lost: 1}, false},
		{"doubled", false, lab.Total{Doubled: 1}, false},
		{"out of order", false, lab.Total{Disorder: 1}, false},
		{"not shown", false, lab.Total{Unshown: 1}, false},
		{"a lost probe", true, lab.Total{Lost: 1}, true},
	} {
		e := &experiment{o: &labOptions{chat: !row.probes}}
		if err := e.verdict(&row.total); (err == nil) != row.ok || err != nil && exitCode(t.Context(), err) != exitFailed {
			t.Errorf("%s: got %v", row.name, err)
		}
	}
}
