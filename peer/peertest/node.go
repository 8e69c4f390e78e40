package peertest

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/peer"
)

// Node is a peer in a world, through all its restarts.
type Node struct {
	*peer.Peer // the running one

	w    *World
	t    testing.TB
	name string
	home string
	ip   string
	key  int

	mu     sync.Mutex
	events []peer.Event // guarded by mu: everything told since the first start
	read   sync.WaitGroup
}

// Peer makes a node for a user and starts it. Two nodes of one name are two devices of one account.
func (w *World) Peer(name string) *Node {
	w.t.Helper()
	return w.PeerAt(name, w.nextIP())
}

// PeerAt is Peer at an address that no other has: those of Peer are all in one network.
func (w *World) PeerAt(name, ip string) *Node {
	w.t.Helper()
	n := &Node{w: w, t: w.t, name: name, ip: ip, key: w.keys}
	w.keys++
	n.home = filepath.Join(w.dir, "home-"+n.ip)
	if err := n.Start(); err != nil {
		w.t.Fatalf("start %s: %v", name, err)
	}
	w.t.Cleanup(n.Stop)
	return n
}

// Stranger makes a host at an address of this network that belongs to no account: a test says what it does. It ends with the test.
func (w *World) Stranger() host.Host {
	w.t.Helper()
	options := append(w.hostOptions(), libp2p.ListenAddrStrings("/ip4/"+w.nextIP()+"/udp/8000/quic-v1"))
	h, err := libp2p.New(options...)
	if err != nil {
		w.t.Fatalf("start a stranger: %v", err)
	}
	w.t.Cleanup(func() { _ = h.Close() }) // in a simulated network
	return h
}

// Dials counts what a node dials; see [Dials.Count].
type Dials struct {
	mu sync.Mutex
	at []time.Time // guarded by mu
}

// Times returns when something was dialled.
func (d *Dials) Times() []time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.at)
}

// InterceptPeerDial notes a dial and allows it, as the other methods do everything.
func (d *Dials) InterceptPeerDial(libp2ppeer.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = append(d.at, time.Now())
	return true
}

// InterceptAddrDial allows.
func (d *Dials) InterceptAddrDial(libp2ppeer.ID, ma.Multiaddr) bool { return true }

// InterceptAccept allows.
func (d *Dials) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured allows.
func (d *Dials) InterceptSecured(network.Direction, libp2ppeer.ID, network.ConnMultiaddrs) bool {
	return true
}

// InterceptUpgraded allows.
func (d *Dials) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }

// Count is a change for Start after which dials has every connection attempt of the node, whatever it is for.
func (d *Dials) Count(cfg *peer.Config) {
	cfg.HostOptions = append(cfg.HostOptions, libp2p.ConnectionGater(d))
}

// Start brings the peer up on the home it had before.
func (n *Node) Start(change ...func(*peer.Config)) error {
	cfg := peer.Config{
		Home: n.home, User: n.name, Rendezvous: n.w.Address(), NoMDNS: true, NoPassphrase: true,
		Listen: []string{"/ip4/" + n.ip + "/udp/8000/quic-v1"}, HostOptions: n.w.hostOptions(), Logger: n.w.logger(n.name),
		Password: func(context.Context, peer.PasswordUse, string) ([]byte, error) { return []byte(Password), nil },
		NewKeys:  func(time.Time) (*identity.Keyring, error) { return identitytest.Keyring(n.key), nil },
	}
	for _, f := range change {
		f(&cfg)
	}
	p, err := peer.New(cfg)
	if err != nil {
		return err
	}
	s := p.Subscribe(peer.EventOptions{Unshown: true})
	n.read.Go(func() {
		for e, err := range s.Events(context.Background()) {
			if err != nil {
				return
			}
			n.take(p, e)
		}
	})
	if err := p.Up(context.Background()); err != nil {
		_ = p.Close()
		n.read.Wait()
		return err
	}
	n.Peer = p
	return nil
}

// take plays the face: it shows a message and says so.
func (n *Node) take(p *peer.Peer, e peer.Event) {
	n.mu.Lock()
	n.events = append(n.events, e)
	n.mu.Unlock()
	if e.Type == peer.EventMessage {
		_ = p.Shown(context.Background(), e.ID) // while the peer closes: shown again by the next start, as it must be
	}
}

// Stop closes the peer. It may be called when it is stopped.
func (n *Node) Stop() {
	if n.Peer == nil {
		return
	}
	if err := n.Close(); err != nil {
		n.t.Errorf("stop %s: %v", n.name, err)
	}
	n.read.Wait()
	n.Peer = nil
}

// Events returns what was told since the first start, of one type or of all for none.
func (n *Node) Events(kind peer.EventType) []peer.Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []peer.Event
	for _, e := range n.events {
		if kind == "" || e.Type == kind {
			out = append(out, e)
		}
	}
	return out
}

// Bodies returns the texts of all messages shown, in the order shown.
func (n *Node) Bodies() []string {
	var out []string
	for _, e := range n.Events(peer.EventMessage) {
		out = append(out, *e.Body)
	}
	return out
}

// MustSend sends and returns the receipt, which is accepted.
func (n *Node) MustSend(to, body string) peer.Receipt {
	n.t.Helper()
	r, err := n.Send(context.Background(), to, body, peer.SendOptions{})
	if err != nil {
		n.t.Fatalf("%s sends to %s: %v", n.name, to, err)
	}
	return r
}

// MustReach waits until a message has come as far as a state.
func (n *Node) MustReach(id string, state peer.State) peer.Receipt {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	r, err := n.Wait(ctx, id, state)
	if err != nil || r.State == peer.StateFailed {
		n.t.Fatalf("%s waits for %s: got %+v, %v", n.name, state, r, err)
	}
	return r
}

// LoseSessions makes the stopped node forget all receiving sessions, as a home that was restored from a backup has.
func (n *Node) LoseSessions() { n.lose("DELETE FROM sessions") }

// LoseContacts makes the stopped node forget all contacts, its own account included, as where the page of theirs was lost. What they wrote in goes on.
func (n *Node) LoseContacts() { n.lose("DELETE FROM contacts WHERE length(tag) = 16") }

// DamageContacts overwrites the page of the stopped node's history in which its few contacts are.
func (n *Node) DamageContacts() {
	n.t.Helper()
	path := filepath.Join(n.home, "history.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		n.t.Fatal(err)
	}
	var page, size int
	err = db.QueryRow("SELECT rootpage, page_size FROM sqlite_master, pragma_page_size WHERE name = 'contacts'").Scan(&page, &size)
	if err = errors.Join(err, db.Close()); err != nil {
		n.t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		n.t.Fatal(err)
	}
	clear(b[(page-1)*size : page*size])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *Node) lose(what string) {
	n.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(n.home, "history.db"))
	if err != nil {
		n.t.Fatal(err)
	}
	_, err = db.Exec(what)
	// The sums are not of what was written past them: without them the file is looked over by SQLite, and gets new ones.
	err = errors.Join(err, db.Close(), os.Remove(filepath.Join(n.home, "history.db.sums")))
	if err != nil {
		n.t.Fatal(err)
	}
}

// Home is the directory of the node.
func (n *Node) Home() string { return n.home }

// LoseHistory removes the stopped node's history.
func (n *Node) LoseHistory() {
	n.t.Helper()
	if err := os.Remove(filepath.Join(n.home, "history.db")); err != nil {
		n.t.Fatal(err)
	}
}

// Backup copies the home as it is now, the peer stopped for that time, and returns what puts the copy back. The peer must be stopped then too.
func (n *Node) Backup() (restore func()) {
	n.t.Helper()
	n.Stop()
	copied := n.home + ".backup"
	n.copyHome(n.home, copied)
	if err := n.Start(); err != nil {
		n.t.Fatalf("start %s: %v", n.name, err)
	}
	return func() {
		if err := os.RemoveAll(n.home); err != nil {
			n.t.Fatalf("remove home: %v", err)
		}
		n.copyHome(copied, n.home)
	}
}

// copyHome copies the files of a home, which lie side by side.
func (n *Node) copyHome(from, to string) {
	n.t.Helper()
	files, err := os.ReadDir(from)
	if err == nil {
		err = os.Mkdir(to, 0o700)
	}
	for _, f := range files {
		var content []byte
		if err == nil && f.Type().IsRegular() {
			if content, err = os.ReadFile(filepath.Join(from, f.Name())); err == nil {
				err = os.WriteFile(filepath.Join(to, f.Name()), content, 0o600)
			}
		}
	}
	if err != nil {
		n.t.Fatalf("copy home: %v", err)
	}
}
