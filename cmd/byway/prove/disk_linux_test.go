package prove_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// disk is a small file system in memory.
type disk struct {
	t   testing.TB
	dir string
}

// newDisk mounts one of so many KiB, or skips the test.
func newDisk(t testing.TB, size string) *disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("skipped: mounting a small disk needs root")
	}
	d := &disk{t: t, dir: t.TempDir()}
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Skipf("skipped: no small disk can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(d.dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *disk) resize(size string) {
	d.t.Helper()
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", unix.MS_REMOUNT, "mode=0700,size="+size); err != nil {
		d.t.Fatal(err)
	}
}

// fill leaves no byte free and returns how to undo it.
func (d *disk) fill() (free func()) {
	d.t.Helper()
	path := filepath.Join(d.dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		d.t.Fatal(err)
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	f.Close()
	return func() {
		d.t.Helper()
		if err := os.Remove(path); err != nil {
			d.t.Fatal(err)
		}
	}
}

func TestFullDiskOfAPeer(t *testing.T) {
	t.Parallel()
	d := newDisk(t, "8k")
	o := serve(t, "", loopback...)
	bob := newPerson(t, "bob", o)
	b := bob.bot()
	alice := newPerson(t, "alice", o, "--no-passphrase")
	alice.home = filepath.Join(d.dir, "home")
	full := refusal{1, []string{"disk is full"}}

	full.check(t, alice.run("register", "--user", "alice"))
	d.resize("4m")
	if r := alice.run("bot", "--user", "alice"); r.code != 0 { // with the name it has, or with none yet
		t.Fatalf("after the disk was full: exit code %d\n%s", r.code, r.errors)
	}
	alice.must(0, "send", "bob", "one")
	free := d.fill()
	full.check(t, alice.run("send", "bob", "lost"))
	free()
	alice.must(0, "send", "bob", "two")

	a := alice.bot()
	free = d.fill()
	a.send("full", "bob", "lost too", "auto")
	a.await("disk-full", func(e event) bool {
		return e.Type == "error" && e.Re == "full" && e.Code == "disk-full" && e.Hint != ""
	})
	free()
	a.send("after", "bob", "three", "auto")
	a.state("after", "delivered")
	for _, body := range []string{"one", "two", "three"} {
		e := b.await("a message", func(e event) bool { return e.Type == "message" || e.Type == "gap" })
		if e.Body == nil || *e.Body != body {
			t.Errorf("bob got %+v, want %s", e, body)
		}
	}
	if out := alice.must(0, "history").out; strings.Contains(out, "lost") || !strings.Contains(out, "three") {
		t.Errorf("the history holds what was refused, or not what was sent:\n%s", out)
	}
}

func TestFullDiskOfARendezvous(t *testing.T) {
	t.Parallel()
	d := newDisk(t, "8m")
	dir := filepath.Join(d.dir, "data")
	o := serve(t, "", append(loopback, "--data", dir)...)
	o.data = dir
	alice, bob := newPerson(t, "alice", o), newPerson(t, "bob", o)
	bob.must(0, "register", "--user", "bob")
	a := alice.bot()
	free := d.fill()
	long := strings.Repeat("x", 60<<10) // more than any slack within the file
	a.send("1", "bob", long, "auto")
	a.state("1", "accepted")
	carol := newPerson(t, "carol", o)
	if r := carol.run("register", "--user", "carol"); r.code == 0 || !strings.Contains(r.errors, "byway: error: ") {
		t.Errorf("registering on a full disk: exit code %d\n%s", r.code, r.errors)
	} else {
		t.Logf("registering on a full disk: exit code %d, %s", r.code, r.errors)
	}
	if strings.Contains(a.stdout(), `"stored"`) {
		t.Error("a message was called stored that no disk holds")
	}
	free()
	began := time.Now()
	a.state("1", "stored")
	t.Logf("stored %v after the disk had room again", time.Since(began).Round(time.Millisecond))
	carol.must(0, "register", "--user", "carol")
	bob.bot().message("alice", long)
	a.state("1", "delivered")
	if users := o.users(); len(users) != 3 {
		t.Errorf("%d users, want 3", len(users))
	}
}

// TestUnreadableKeyFile runs as another user, because root reads everything.
func TestUnreadableKeyFile(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("skipped: becoming another user needs root")
	}
	const nobody = 65534
	o := serve(t, "", loopback...)
	alice := newPerson(t, "alice", o)
	alice.must(0, "register", "--user", "alice")
	for _, open := range []string{binaries, filepath.Dir(alice.home), filepath.Dir(filepath.Dir(alice.home))} {
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	chown := func(name string) {
		t.Helper()
		if err := os.Chown(name, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	chown(alice.home)
	chown(alice.file)
	for _, name := range []string{"home.json", "history.db", "lock"} {
		chown(filepath.Join(alice.home, name))
	}
	l := alice.byway("who")
	l.uid = nobody
	refusal{1, []string{"key file cannot be read"}}.check(t, run(t, l, ""))
	chown(filepath.Join(alice.home, "keystore.age"))
	if r := run(t, l, ""); r.code != 0 {
		t.Errorf("with the key file readable: exit code %d\n%s", r.code, r.errors)
	}
	// Everybody but root is warned by a library of small buffers when a UDP port is opened: not here.
	l = alice.byway("send", "alice", "hello", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1")
	l.uid = nobody
	if r := run(t, l, ""); strings.Count(r.errors, "\n") > 2 || strings.Contains(r.errors, "buffer") {
		t.Errorf("more than our own words on standard error:\n%s", r.errors)
	}
}
