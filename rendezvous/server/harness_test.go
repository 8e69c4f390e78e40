package server

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/x/simlibp2p"
	"github.com/marcopolo/simnet"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/crypto/password"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
	"github.com/byway-chat/byway/rendezvous/directory"
	"github.com/byway-chat/byway/rendezvous/framing"
)

// secret is the password of every account in these tests.
const secret = "correct horse battery staple"

// cheap is a hasher for tests: the cost of a password is not under test here.
func cheap() directory.Hasher {
	return directory.Argon2(password.Params{MemoryKiB: 64, Time: 1, Threads: 1})
}

// world is a running rendezvous and what its peers need to reach it.
type world struct {
	t       testing.TB
	server  *Server
	stop    context.CancelFunc
	done    sync.WaitGroup
	network *simnet.Simnet // nil: loopback
	next    int            // peers made so far

	mu  sync.Mutex      // guards the following
	cut map[string]bool // IP addresses in the simulated network that nothing reaches and nothing comes from
}

// start serves on loopback, or with simulated in a network of its own, which must be in a bubble.
func start(t testing.TB, cfg Config, simulated bool) *world {
	t.Helper()
	w := &world{t: t, cut: make(map[string]bool)}
	cfg.Data, cfg.Hasher, cfg.Version = t.TempDir(), cheap(), "test"
	cfg.NoMDNS = true
	cfg.Listen = []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}
	if simulated {
		w.network = &simnet.Simnet{LatencyFunc: w.latency}
		cfg.HostOptions = []libp2p.Option{simlibp2p.QUICSimnet(w.network, link())}
		cfg.Listen = []string{"/ip4/1.0.0.1/udp/8000/quic-v1"}
	}
	ctx, stop := context.WithCancel(context.Background())
	server, err := New(ctx, cfg)
	if err != nil {
		t.Fatalf("new: %v", err)
	}
	w.server, w.stop = server, stop
	if w.network != nil {
		w.network.Start()
		t.Cleanup(w.network.Close)
	}
	w.done.Go(func() {
		if err := server.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(w.close)
	<-server.Ready()
	return w
}

func (w *world) close() {
	w.stop()
	w.done.Wait()
}

func link() simnet.NodeBiDiLinkSettings {
	speed := simnet.LinkSettings{BitsPerSecond: 100 * simlibp2p.OneMbps}
	return simnet.NodeBiDiLinkSettings{Downlink: speed, Uplink: speed}
}

func (w *world) latency(p *simnet.Packet) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, addr := range []string{p.From.String(), p.To.String()} {
		if ip, _, _ := strings.Cut(addr, ":"); w.cut[ip] {
			return 1000 * time.Hour
		}
	}
	return 5 * time.Millisecond
}

func (w *world) info() peer.AddrInfo {
	return peer.AddrInfo{ID: w.server.host.ID(), Addrs: reachable(w.server.host)}
}

// device is one device of an account, with its own host.
type device struct {
	w    *world
	name rendezvous.Username
	keys *identity.Keyring
	host host.Host
	ip   string // in the simulated network
	conn *client.Conn
	out  []*rendezvous.Frame // pushes of another kind than was asked for
}

// device makes the i-th device of the fixed keys for a name; it does not connect.
func (w *world) device(name string, i int) *device {
	return w.deviceOf(name, identitytest.Keyring(i))
}

func (w *world) deviceOf(name string, keys *identity.Keyring) *device {
	w.t.Helper()
	w.next++
	d := &device{w: w, name: rendezvous.Username(name), keys: keys, ip: fmt.Sprintf("1.0.1.%d", w.next)}
	key, err := crypto.UnmarshalEd25519PrivateKey(keys.Host)
	if err != nil {
		w.t.Fatal(err)
	}
	options := []libp2p.Option{
		libp2p.Identity(key), libp2p.DisableIdentifyAddressDiscovery(), libp2p.ResourceManager(&network.NullResourceManager{}),
	}
	if w.network != nil {
		options = append(options, simlibp2p.QUICSimnet(w.network, link()), libp2p.ListenAddrStrings("/ip4/"+d.ip+"/udp/8000/quic-v1"))
	} else {
		options = append(options, libp2p.NoListenAddrs)
	}
	if d.host, err = libp2p.New(options...); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if d.conn != nil {
			_ = d.conn.Close()
		}
		_ = d.host.Close()
	})
	return d
}

// freshKeys are those of device 0 with an identity and host key of their own: sealing is not under test here.
func freshKeys(t testing.TB) *identity.Keyring {
	t.Helper()
	keys := identitytest.Keyring(0)
	var err error
	if keys.Identity, err = identity.GeneratePrivateKey(); err != nil {
		t.Fatal(err)
	}
	if _, keys.Host, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	return keys
}

func (d *device) fingerprint() identity.Fingerprint { return d.keys.Identity.Public().Fingerprint() }

func (d *device) dial() {
	d.w.t.Helper()
	conn, err := client.Dial(d.w.t.Context(), client.Options{
		Host: d.host, Rendezvous: d.w.info(), Agent: "test \x1b[31m1", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		d.w.t.Fatalf("%s: dial: %v", d.name, err)
	}
	d.conn = conn
}

func (d *device) member() rendezvous.EntryDevice {
	return rendezvous.EntryDevice{Key: d.keys.Identity.Public(), PeerID: d.host.ID(), Added: time.Now().Truncate(time.Millisecond)}
}

func (d *device) bundle(seq uint64) []byte {
	d.w.t.Helper()
	now := time.Now().Truncate(time.Millisecond)
	b := &rendezvous.Bundle{
		Rendezvous: d.w.server.host.ID(), Username: d.name, PeerID: d.host.ID(), Seq: seq,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(7 * 24 * time.Hour), Key: d.keys.Encryption[0].Public(),
	}
	signed, err := b.Sign(d.keys.Identity)
	if err != nil {
		d.w.t.Fatalf("sign bundle: %v", err)
	}
	return signed
}

func (d *device) possession() []byte {
	d.w.t.Helper()
	proof, err := rendezvous.SignPossession(d.keys.Identity, d.w.server.host.ID(), d.name, d.host.ID(), d.conn.Welcome().GetNonce())
	if err != nil {
		d.w.t.Fatalf("sign possession: %v", err)
	}
	return proof
}

// registration is a Register that is right in everything.
func (d *device) registration() *rendezvous.Register {
	d.w.t.Helper()
	e := &rendezvous.Entry{
		Rendezvous: d.w.server.host.ID(), Username: d.name, Seq: 1, Issued: time.Now().Truncate(time.Millisecond),
		Devices: []rendezvous.EntryDevice{d.member()},
	}
	signed, err := e.Sign(d.keys.Identity)
	if err != nil {
		d.w.t.Fatalf("sign entry: %v", err)
	}
	return &rendezvous.Register{
		Username: string(d.name), Password: secret, Entry: signed, Bundle: d.bundle(1), Possession: d.possession(),
	}
}

// registered dials and registers.
func (w *world) registered(name string, i int) *device {
	w.t.Helper()
	d := w.device(name, i)
	d.dial()
	if _, err := d.conn.Register(w.t.Context(), d.registration()); err != nil {
		w.t.Fatalf("register %s: %v", name, err)
	}
	return d
}

// enrolled dials, logs in to the name with the password and enrols.
func (w *world) enrolled(name string, i int) *device {
	w.t.Helper()
	d := w.device(name, i)
	d.dial()
	enrolling, err := d.conn.Login(w.t.Context(), name, secret)
	if err != nil {
		w.t.Fatalf("log in to %s: %v", name, err)
	}
	if _, err := d.conn.Enrol(w.t.Context(), d.enrolment(enrolling.GetEntry())); err != nil {
		w.t.Fatalf("enrol %s: %v", name, err)
	}
	return d
}

func (d *device) enrolment(entry []byte) *rendezvous.Enrol {
	d.w.t.Helper()
	old, err := rendezvous.ParseEntry(entry)
	if err != nil {
		d.w.t.Fatalf("parse the entry to extend: %v", err)
	}
	old.Seq++
	old.Devices = append(old.Devices, d.member())
	signed, err := old.Sign(d.keys.Identity)
	if err != nil {
		d.w.t.Fatalf("sign entry: %v", err)
	}
	return &rendezvous.Enrol{Entry: signed, Bundle: d.bundle(1), Possession: d.possession()}
}

// resume connects anew and signs in without a password.
func (d *device) resume() *rendezvous.SignedIn {
	d.w.t.Helper()
	d.dial()
	in, err := d.conn.Resume(d.w.t.Context(), string(d.name))
	if err != nil {
		d.w.t.Fatalf("resume %s: %v", d.name, err)
	}
	return in
}

// next returns the next push that f wants, keeping others for later.
func (d *device) next(f func(*rendezvous.Frame) bool) *rendezvous.Frame {
	d.w.t.Helper()
	for i, p := range d.out {
		if f(p) {
			d.out = append(d.out[:i], d.out[i+1:]...)
			return p
		}
	}
	timeout := time.After(20 * time.Second)
	for {
		select {
		case p, ok := <-d.conn.Pushes():
			switch {
			case !ok:
				d.w.t.Fatalf("%s: the connection has ended: %v", d.name, d.conn.Err())
			}
			d.out = append(d.out, frames(p)...)
			for i, p := range d.out {
				if f(p) {
					d.out = append(d.out[:i], d.out[i+1:]...)
					return p
				}
			}
		case <-timeout:
			d.w.t.Fatalf("%s: a push did not come; there are %v", d.name, d.out)
		}
	}
}

// frames are pushes one by one. An outcome carries the number of its submission as id.
func frames(p client.Pushed) []*rendezvous.Frame {
	var all []*rendezvous.Frame
	for _, d := range p.Deliveries {
		all = append(all, &rendezvous.Frame{Body: &rendezvous.Frame_Deliver{Deliver: &rendezvous.Deliver{
			Id: d.ID, Username: d.Username, Device: d.Device, Envelope: d.Envelope, Stored: d.Stored, SubmittedMs: d.SubmittedMs,
		}}})
	}
	for _, o := range p.Outcomes {
		all = append(all, &rendezvous.Frame{Id: o.ID, Body: &rendezvous.Frame_Outcome{Outcome: &rendezvous.Outcome{
			State: o.State, Code: string(o.Code), RetryAfterMs: o.RetryAfterMs,
		}}})
	}
	for _, presence := range p.Presence {
		all = append(all, &rendezvous.Frame{Body: &rendezvous.Frame_Presence{Presence: presence}})
	}
	if p.Refusals != nil {
		all = append(all, &rendezvous.Frame{Body: &rendezvous.Frame_Refusals{Refusals: p.Refusals}})
	}
	if p.Goodbye != nil {
		all = append(all, &rendezvous.Frame{Body: &rendezvous.Frame_Goodbye{Goodbye: p.Goodbye}})
	}
	return all
}

func (d *device) delivery() *rendezvous.Deliver {
	d.w.t.Helper()
	return d.next(func(f *rendezvous.Frame) bool { return f.GetDeliver() != nil }).GetDeliver()
}

func (d *device) outcome(id uint64) *rendezvous.Outcome {
	d.w.t.Helper()
	return d.next(func(f *rendezvous.Frame) bool { return f.GetOutcome() != nil && f.GetId() == id }).GetOutcome()
}

func (d *device) submit(to *device, envelope string) uint64 {
	d.w.t.Helper()
	id, err := d.conn.Submit(to.fingerprint(), []byte(envelope), false)
	if err != nil {
		d.w.t.Fatalf("submit: %v", err)
	}
	return id
}

// settle sends envelopes to d itself until one comes live: the relay looks into the mailbox of a device that has come before it hands
// anything past it.
func (d *device) settle() {
	d.w.t.Helper()
	for {
		id := d.submit(d, "are we live?")
		got := d.delivery()
		if err := d.conn.Taken(got.GetId()); err != nil {
			d.w.t.Fatal(err)
		}
		d.outcome(id)
		if !got.GetStored() {
			return
		}
	}
}

// raw is a control stream spoken by hand.
type raw struct {
	t testing.TB
	s network.Stream
	r *framing.Reader
}

func (d *device) raw(t testing.TB) *raw {
	t.Helper()
	if err := d.host.Connect(t.Context(), d.w.info()); err != nil {
		t.Fatalf("connect: %v", err)
	}
	s, err := d.host.NewStream(t.Context(), d.w.server.host.ID(), rendezvous.ProtocolID)
	if err != nil {
		t.Fatalf("open a stream: %v", err)
	}
	t.Cleanup(func() { _ = s.Reset() })
	return &raw{t: t, s: s, r: framing.NewReader(s)}
}

func (r *raw) send(frames ...*rendezvous.Frame) {
	r.t.Helper()
	var buf []byte
	for _, f := range frames {
		var err error
		if buf, err = rendezvous.AppendFrame(buf, f); err != nil {
			r.t.Fatalf("encode: %v", err)
		}
	}
	if _, err := r.s.Write(buf); err != nil {
		r.t.Fatalf("write: %v", err)
	}
}

func (r *raw) read() *rendezvous.Frame {
	r.t.Helper()
	f, err := r.r.NextFrame()
	if err != nil {
		r.t.Fatalf("read: %v", err)
	}
	return f
}

func hello() *rendezvous.Frame {
	return &rendezvous.Frame{Id: 1, Body: &rendezvous.Frame_Hello{Hello: &rendezvous.Hello{Version: 1}}}
}
