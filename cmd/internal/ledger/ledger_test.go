package ledger

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asPrinter makes this test binary the process that is killed.
const asPrinter = "LEDGER_TEST_PRINTER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asPrinter); dir != "" {
		printOn(dir)
	}
	goleak.VerifyTestMain(m)
}

// printOn prints numbered lines, from behind the last one on, until it is killed.
func printOn(dir string) {
	l, err := Open(Options{Out: os.Stdout, Dirs: []string{filepath.Join(dir, "volatile")}, Home: dir, Device: "d"})
	if err != nil {
		panic(err)
	}
	for n := l.Last().Order + 1; ; n++ {
		if err := l.Print(line(n), Mark{Order: n, ID: fmt.Sprint("id", n)}); err != nil {
			panic(err)
		}
	}
}

// line is the text of message n: now and then one that is longer than a page.
func line(n int64) []byte {
	size := 40
	if n%50 == 0 {
		size = 9000
	}
	return fmt.Appendf(nil, "%d %s\n", n, strings.Repeat("x", size))
}

// start runs this binary as a printer on out.
func start(t *testing.T, dir string, out *os.File) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), asPrinter+"="+dir)
	cmd.Stdout, cmd.Stderr = out, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
}

// check wants the numbers from 1 on, each once and in order. A line that was cut off by a kill is followed by the whole one.
func check(t *testing.T, r io.Reader) (lines int) {
	t.Helper()
	want := int64(1)
	in := bufio.NewReader(r)
	for {
		text, err := in.ReadBytes('\n')
		if err != nil {
			return int(want - 1)
		}
		if bytes.Equal(text, line(want)) {
			want++
			continue
		}
		if !bytes.HasPrefix(line(want), bytes.TrimSuffix(text, []byte("\n"))) {
			t.Fatalf("got line %.20q…, want number %d", text, want)
		}
	}
}

// kills is how often each stream's writer is killed.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("LEDGER_KILLS")); err == nil {
		return n
	}
	return 60
}

// TestKilled: a printer that is killed at any moment, again and again, prints each line once.
func TestKilled(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(t *testing.T, dir string) (out *os.File, ledger func() io.Reader)
	}{
		{"pipe", pipeOut},
		{"slow pipe", slowOut},
		{"file", func(t *testing.T, dir string) (*os.File, func() io.Reader) { return fileOut(t, dir, 0) }},
		{"appended file", func(t *testing.T, dir string) (*os.File, func() io.Reader) { return fileOut(t, dir, os.O_APPEND) }},
		{"socket", socketOut},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			out, printed := tt.open(t, dir)
			for i := range kills() {
				cmd := start(t, dir, out)
				<-time.After(time.Duration(20+7*i%13) * time.Millisecond)
				kill(t, cmd)
			}
			if err := out.Close(); err != nil {
				t.Fatal(err)
			}
			if n := check(t, printed()); n < kills() {
				t.Errorf("only %d lines were printed", n)
			}
			all := filepath.Join(dir, "volatile", "*")
			must(t, ageFresh(dir))
			must(t, open(t, Options{Out: io.Discard, Dirs: []string{filepath.Dir(all)}, Home: dir, Device: "d"}).Close(false))
			if names, err := filepath.Glob(all); err != nil || len(names) != 1 {
				t.Errorf("left of all printers are %v, %v; want one page", names, err)
			}
		})
	}
}

// ageFresh makes what printers were killed in the making of old enough to be taken away.
func ageFresh(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "volatile", fresh+"*"))
	for _, name := range names {
		err = errors.Join(err, os.Chtimes(name, time.Time{}, time.Now().Add(-time.Hour)))
	}
	return err
}

// collect reads r to its end, a little at a time.
func collect(r io.Reader, pause time.Duration) func() io.Reader {
	done, all := make(chan struct{}), new(bytes.Buffer)
	go func() {
		defer close(done)
		for {
			if _, err := io.CopyN(all, r, 4000); err != nil {
				return
			}
			if pause > 0 {
				<-time.After(pause)
			}
		}
	}()
	return func() io.Reader {
		<-done
		return all
	}
}

func pipeOut(t *testing.T, _ string) (*os.File, func() io.Reader) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return w, collect(r, 0)
}

func slowOut(t *testing.T, _ string) (*os.File, func() io.Reader) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return w, collect(r, 2*time.Millisecond)
}

func fileOut(t *testing.T, dir string, flag int) (*os.File, func() io.Reader) {
	path := filepath.Join(dir, "out")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|flag, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return f, func() io.Reader {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.NewReader(content)
	}
}

func socketOut(t *testing.T, _ string) (*os.File, func() io.Reader) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := os.NewFile(uintptr(fds[0]), "reader")
	t.Cleanup(func() { _ = r.Close() })
	return os.NewFile(uintptr(fds[1]), "writer"), collect(r, 0)
}

// options are those of a home of its own.
func options(t *testing.T, out io.Writer) Options {
	dir := t.TempDir()
	return Options{Out: out, Dirs: []string{filepath.Join(dir, "volatile")}, Home: dir, Device: "d"}
}

func open(t *testing.T, o Options) *Ledger {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, what string, l *Ledger, order int64) {
	t.Helper()
	got := l.Last()
	if got.Order != order || order > 0 && got.ID != fmt.Sprint("id", order) {
		t.Errorf("%s: got %+v, want %d", what, got, order)
	}
}

func m(order int64) Mark { return Mark{Order: order, ID: fmt.Sprint("id", order)} }

// TestSeveralFaces: a face goes on behind whatever any other has printed, running or not; what is settled is forgotten.
func TestSeveralFaces(t *testing.T) {
	o := options(t, io.Discard)
	first := open(t, o)
	want(t, "new", first, 0)
	must(t, first.Print([]byte("a\n"), m(5)))
	second := open(t, o)
	want(t, "beside a running one", second, 5)
	second.Printed(m(7))
	must(t, first.Close(false))
	must(t, second.Close(false))
	third := open(t, o)
	want(t, "after both", third, 7)
	if names, err := os.ReadDir(o.Dirs[0]); err != nil || len(names) != 1 {
		t.Errorf("got %d files, %v; want the one of the third", len(names), err)
	}
	must(t, third.Close(true))
	if _, err := os.Stat(o.Dirs[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is left with nothing in it: %v", err)
	}
	last := open(t, o)
	want(t, "settled", last, 0)
	other := o
	other.Device = "e"
	must(t, last.Print([]byte("b\n"), m(9)))
	stranger := open(t, other)
	want(t, "another device", stranger, 0)
	must(t, errors.Join(last.Close(true), stranger.Close(true)))
}

// TestFailedWrite: what was not taken is not remembered, by whatever kind of stream.
func TestFailedWrite(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	must(t, r.Close())
	for _, out := range []io.Writer{failing{}, w} {
		l := open(t, options(t, out))
		for order := range int64(3) {
			if err := l.Print([]byte("a\n"), m(order+1)); err == nil {
				t.Error("print has succeeded")
			}
		}
		want(t, "nothing printed", l, 0)
		must(t, l.Close(true))
	}
	must(t, w.Close())
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no") }

// TestUnusablePlaces: a directory that is not ours alone, or none, leaves a ledger that remembers while it lives.
func TestUnusablePlaces(t *testing.T) {
	parent := t.TempDir()
	shared, link := filepath.Join(parent, "shared"), filepath.Join(parent, "link")
	must(t, errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o755), os.Symlink(t.TempDir(), link)))
	for _, dir := range []string{shared, link, filepath.Join(parent, "none", "deeper")} {
		l := open(t, Options{Out: io.Discard, Dirs: []string{dir}, Home: parent})
		if l.Survives() {
			t.Errorf("%s is used", dir)
		}
		must(t, l.Print([]byte("a\n"), m(3)))
		want(t, dir, l, 3)
		must(t, l.Close(true))
	}
}

// TestForeignFiles: what lies in the directory and is no page is neither believed nor touched.
func TestForeignFiles(t *testing.T) {
	o := options(t, io.Discard)
	must(t, os.Mkdir(o.Dirs[0], 0o700))
	foreign := map[string][]byte{o.key() + "short": []byte("x"), o.key() + "zeros": make([]byte, pageSize), "other": []byte("y")}
	for name, content := range foreign {
		must(t, os.WriteFile(filepath.Join(o.Dirs[0], name), content, 0o600))
	}
	must(t, os.Symlink("other", filepath.Join(o.Dirs[0], o.key()+"link")))
	l := open(t, o)
	want(t, "foreign files", l, 0)
	must(t, l.Close(true))
	names, err := os.ReadDir(o.Dirs[0])
	must(t, err)
	var left []string
	for _, e := range names {
		left = append(left, e.Name())
	}
	expected := []string{o.key() + "link", o.key() + "short", o.key() + "zeros", "other"}
	slices.Sort(expected)
	if !slices.Equal(left, expected) {
		t.Errorf("left are %v, want %v", left, expected)
	}
}

// TestHomeAway: a home that is not there right now, because its disk is not, keeps its page while others start; after a day it goes.
func TestHomeAway(t *testing.T) {
	o := options(t, io.Discard)
	away := o
	away.Home = filepath.Join(o.Home, "disk")
	must(t, os.Mkdir(away.Home, 0o700))
	killed := func(order int64) {
		l := open(t, away)
		must(t, l.Print([]byte("a\n"), m(order)))
		must(t, l.Close(false))
	}
	others := func() {
		for range 3 {
			must(t, open(t, o).Close(true))
		}
	}
	after := func(what string, order int64) {
		t.Helper()
		must(t, os.MkdirAll(away.Home, 0o700))
		l := open(t, away)
		want(t, what, l, order)
		must(t, l.Close(false))
	}
	day := func() {
		names, err := filepath.Glob(filepath.Join(o.Dirs[0], away.key()+"*"))
		if err != nil || len(names) != 1 {
			t.Fatalf("got pages %v, %v; want one", names, err)
		}
		p, _, err := read(names[0])
		must(t, err)
		if p.gone == 0 {
			t.Fatal("nobody has noted that the home is gone")
		}
		noteGone(names[0], p.gone-int64(keepGone/time.Second)-1)
	}
	killed(4)
	must(t, os.Remove(away.Home))
	others()
	after("back at once", 4)

	must(t, os.Remove(away.Home))
	others()
	day()
	must(t, os.Mkdir(away.Home, 0o700))
	others()
	must(t, os.Remove(away.Home))
	others()
	after("back in time and gone again", 4)

	must(t, os.Remove(away.Home))
	others()
	day()
	others()
	after("gone for a day", 0)
}

// TestLookedAt: a page that another process is just looking at is read as that of a dead process all the same, and taken away.
func TestLookedAt(t *testing.T) {
	o := options(t, io.Discard)
	l := open(t, o)
	must(t, l.Print([]byte("a\n"), m(6)))
	path := l.paper.path
	must(t, l.Close(false))
	f, err := os.Open(path)
	must(t, err)
	must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB))
	if _, dead, err := read(path); err != nil || !dead {
		t.Errorf("got dead %v, %v", dead, err)
	}
	must(t, f.Close())
	must(t, open(t, o).Close(true))
}

// TestManyPages: however many homes have left pages, a home finds its own.
func TestManyPages(t *testing.T) {
	o := options(t, io.Discard)
	mine := open(t, o)
	must(t, mine.Print([]byte("a\n"), m(8)))
	must(t, mine.Close(false))
	for i := range 8000 {
		must(t, os.WriteFile(filepath.Join(o.Dirs[0], fmt.Sprintf("%032d-other", i)), nil, 0o600))
	}
	l := open(t, o)
	want(t, "among many", l, 8)
	must(t, l.Close(true))
}

// TestInterruptedPage: whatever step of Print was the last, the page says what the reader has.
func TestInterruptedPage(t *testing.T) {
	p := new(page)
	p.init("/home", m(1))
	equal := func(what string, last Mark, torn bool) {
		t.Helper()
		gotLast, gotTorn := p.settle()
		if gotLast != last || gotTorn != torn {
			t.Errorf("%s: got %+v, %v; want %+v, %v", what, gotLast, gotTorn, last, torn)
		}
	}
	equal("new", m(1), false)
	a := p.begin([]byte("four"), 100, m(2))
	equal("begun", m(1), false)
	atomic.AddInt64(&a.pos, 3)
	equal("half way", m(1), true)
	atomic.AddInt64(&a.pos, 1)
	equal("printed", m(2), false)
	p.begin([]byte("four"), 0, m(3))
	p.begin([]byte("four"), 0, m(4))
	equal("two that failed", m(2), false)
}
