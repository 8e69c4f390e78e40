package prove_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/byway-chat/byway/cmd/byway/stage"
)

// TestFullDiskOfAPeer: what finds no room is refused with that reason. A peer that runs has room put by and accepts what fits into it; all of that arrives, in order.
// While nothing fits it stays connected, says what is the matter when it is asked, and in its log once; what others send it waits in the mailbox.
func TestFullDiskOfAPeer(t *testing.T) {
	t.Parallel()
	d := stage.NewDisk(t, "8k")
	o := stage.Serve(t, "", stage.Loopback...)
	bob := stage.NewPerson(t, "bob", o)
	b := bob.Bot()
	alice := stage.NewPerson(t, "alice", o, "--no-passphrase")
	alice.Home = filepath.Join(d.Dir, "home")
	full := refusal{1, []string{"disk is full"}}

	full.check(t, alice.Run("register", "--user", "alice"))
	d.Resize("4m")
	if r := alice.Run("bot", "--user", "alice"); r.Code != 0 { // with the name it has, or with none yet
		t.Fatalf("after the disk was full: exit code %d\n%s", r.Code, r.Errors)
	}
	alice.Must(0, "send", "bob", "one")
	free := d.Fill()
	full.check(t, alice.Run("send", "bob", "lost"))
	free()
	alice.Must(0, "send", "bob", "two")

	a := alice.Bot()
	free = d.Fill()
	arrive := []string{"one", "two"}
	refused := ""
	for n := 1; refused == "" && n < 10_000; n++ {
		id := fmt.Sprintf("full %d.", n)
		a.Send(id, "bob", id, "auto")
		switch e := a.Await("an answer to "+id, func(e stage.Event) bool { return e.Re == id && (e.Type == "error" || e.State == "accepted") }); {
		case e.State == "accepted":
			arrive = append(arrive, id)
		case e.Code == "disk-full" && e.Hint != "":
			refused = id
		default:
			t.Errorf("refused with %+v", e)
		}
	}
	t.Logf("%d messages found room, then %q did not", len(arrive)-2, refused)
	if refused == "" {
		t.Error("nothing is refused on a full disk")
	}
	stage.NewPerson(t, "carol", o).Must(0, "send", "alice", "while it is full", "--user", "carol", "--wait", "stored", "--timeout", "30s")
	for i := range 20 {
		id := fmt.Sprintf("in vain %d.", i)
		a.Send(id, "bob", id, "auto")
		a.Await("a refusal of "+id, func(e stage.Event) bool { return e.Re == id && e.Code == "disk-full" })
	}
	const word = "the disk is full: nothing is received or accepted; free some space"
	for _, command := range []string{"who", "status"} {
		if out := alice.Must(0, command).Out; !strings.Contains(out, word) || strings.Contains(out, "away") || strings.Contains(out, "not connected") {
			t.Errorf("%s does not say what is the matter:\n%s", command, out)
		}
	}
	if r := alice.Must(0, "who", "--json"); !strings.Contains(r.Errors, "byway: warning: "+word) {
		t.Errorf("who --json warns with %q", r.Errors)
	}
	if out := alice.Must(0, "status", "--json").Out; !strings.Contains(out, `"fault":{"code":"disk-full","message":"the disk is full","hint":"free some space`) {
		t.Errorf("status --json does not say what is the matter: %s", out)
	}
	if n := strings.Count(a.Stderr(), "history does not commit"); n != 1 {
		t.Errorf("the log says it %d times:\n%s", n, a.Stderr())
	}
	free()
	a.Send("after", "bob", "three", "auto")
	a.State("after", "delivered")
	stage.Eventually(t, "what waited in the mailbox comes", func() bool { return strings.Contains(a.Stdout(), `"body":"while it is full"`) })
	if out := alice.Must(0, "status").Out; strings.Contains(out, "full") {
		t.Errorf("the disk is still called full:\n%s", out)
	}
	for _, body := range append(arrive, "three") {
		e := b.Await("a message", func(e stage.Event) bool { return e.Type == "message" || e.Type == "gap" })
		if e.Body == nil || *e.Body != body {
			t.Errorf("bob got %+v, want %s", e, body)
		}
	}
	if out := alice.Must(0, "history", "--limit", "10000").Out; strings.Contains(out, "lost") || strings.Contains(out, refused) || !strings.Contains(out, "three") {
		t.Errorf("the history holds what was refused, or not what was sent:\n%s", out)
	}
}

func TestFullDiskOfARendezvous(t *testing.T) {
	t.Parallel()
	d := stage.NewDisk(t, "8m")
	dir := filepath.Join(d.Dir, "data")
	o := stage.Serve(t, "", append(stage.Loopback, "--data", dir)...)
	o.Data = dir
	alice, bob := stage.NewPerson(t, "alice", o), stage.NewPerson(t, "bob", o)
	bob.Must(0, "register", "--user", "bob")
	a := alice.Bot()
	free := d.Fill()
	long := strings.Repeat("x", 60<<10) // more than any slack within the file
	a.Send("1", "bob", long, "auto")
	a.State("1", "accepted")
	carol := stage.NewPerson(t, "carol", o)
	if r := carol.Run("register", "--user", "carol"); r.Code == 0 || !strings.Contains(r.Errors, "byway: error: ") {
		t.Errorf("registering on a full disk: exit code %d\n%s", r.Code, r.Errors)
	} else {
		t.Logf("registering on a full disk: exit code %d, %s", r.Code, r.Errors)
	}
	if strings.Contains(a.Stdout(), `"stored"`) {
		t.Error("a message was called stored that no disk holds")
	}
	free()
	began := time.Now()
	a.State("1", "stored")
	t.Logf("stored %v after the disk had room again", time.Since(began).Round(time.Millisecond))
	carol.Must(0, "register", "--user", "carol")
	bob.Bot().Message("alice", long)
	a.State("1", "delivered")
	if users := o.Users(); len(users) != 3 {
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
	o := stage.Serve(t, "", stage.Loopback...)
	alice := stage.NewPerson(t, "alice", o)
	alice.Must(0, "register", "--user", "alice")
	for _, open := range []string{stage.Binaries, filepath.Dir(alice.Home), filepath.Dir(filepath.Dir(alice.Home))} {
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
	chown(alice.Home)
	chown(alice.File)
	files, err := os.ReadDir(alice.Home)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Name() != "keystore.age" {
			chown(filepath.Join(alice.Home, f.Name()))
		}
	}
	l := alice.Byway("who")
	l.UID = nobody
	refusal{1, []string{"key file cannot be read"}}.check(t, stage.Run(t, l, ""))
	chown(filepath.Join(alice.Home, "keystore.age"))
	if r := stage.Run(t, l, ""); r.Code != 0 {
		t.Errorf("with the key file readable: exit code %d\n%s", r.Code, r.Errors)
	}
	// Everybody but root is warned by a library of small buffers when a UDP port is opened: not here.
	l = alice.Byway("send", "alice", "hello", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1")
	l.UID = nobody
	if r := stage.Run(t, l, ""); strings.Count(r.Errors, "\n") > 2 || strings.Contains(r.Errors, "buffer") {
		t.Errorf("more than our own words on standard error:\n%s", r.Errors)
	}
}
