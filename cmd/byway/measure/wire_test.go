package measure_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
)

// wire is a signed-in connection to the hub or to the rendezvous, over which one end of a pair sends to the other. What it receives goes
// to the function that take was given.
type wire interface {
	// send queues one message and does not wait for the network.
	send(message []byte) error
	// take says what is to be done with each message that comes; to be called once, before anything comes.
	take(func(message []byte))
	close()
}

// hubProcess is the yardstick as it runs.
type hubProcess struct {
	*process
	addr string
	tls  *tls.Config
}

func startHub(tb testing.TB) *hubProcess {
	tb.Helper()
	p := start(tb, []string{roleVariable + "=hub"}, os.Args[0])
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		p.stop(tb)
		tb.Fatalf("the hub does not start: %v\n%s", err, p.errors.String())
	}
	addr, encoded, _ := strings.Cut(strings.TrimSpace(line), " ")
	der, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		tb.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	return &hubProcess{process: p, addr: addr, tls: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}
}

// hubWire is a client of the hub. What is sent while a Write is under way goes with the next one, as in the rendezvous's own client.
type hubWire struct {
	conn   net.Conn
	reader *bufio.Reader
	wake   chan struct{}
	ended  sync.WaitGroup

	mu      sync.Mutex
	pending []byte // guarded by mu
	closed  bool   // guarded by mu
}

// dial signs in to the hub.
func (h *hubProcess) dial(name, partner string, coalesced bool) (*hubWire, error) {
	conn, err := tls.Dial("tcp", h.addr, h.tls)
	if err != nil {
		return nil, err
	}
	mode := "separate"
	if coalesced {
		mode = "coalesced"
	}
	w := &hubWire{conn: conn, reader: bufio.NewReader(conn), wake: make(chan struct{}, 1)}
	if _, err := fmt.Fprintf(conn, "%s %s %s %s\n", name, hubToken(name), partner, mode); err != nil {
		return nil, err
	}
	if answer, err := w.reader.ReadString('\n'); err != nil || answer != "ok\n" {
		return nil, fmt.Errorf("sign in to the hub: %q, %w", answer, err)
	}
	w.ended.Go(w.write)
	return w, nil
}

func (w *hubWire) send(message []byte) error {
	w.mu.Lock()
	w.pending = binary.BigEndian.AppendUint32(w.pending, uint32(len(message)))
	w.pending = append(w.pending, message...)
	w.mu.Unlock()
	w.flush()
	return nil
}

func (w *hubWire) flush() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *hubWire) write() {
	var spare []byte
	for range w.wake {
		w.mu.Lock()
		batch, closed := w.pending, w.closed
		w.pending = spare[:0]
		w.mu.Unlock()
		if closed {
			return
		}
		if len(batch) > 0 {
			if _, err := w.conn.Write(batch); err != nil {
				return
			}
		}
		spare = batch
	}
}

func (w *hubWire) take(f func([]byte)) {
	w.ended.Go(func() {
		for {
			frame, err := readHubFrame(w.reader)
			if err != nil {
				return
			}
			f(frame[4:])
		}
	})
}

func (w *hubWire) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.flush()
	_ = w.conn.Close()
	w.ended.Wait()
}

// device is an enrolled device at the rendezvous, without a peer around it.
type device struct {
	account
	conn   *client.Conn
	leave  func() // closes its host
	to     identity.Fingerprint
	ended  sync.WaitGroup
	told   func()        // called with each outcome; set before take, or nil
	taken  atomic.Uint64 // outcomes: the recipient has it
	stored atomic.Uint64 // outcomes: it went to the mailbox
	failed atomic.Uint64 // outcomes: refused
}

func (d *device) send(message []byte) error {
	_, err := d.conn.Submit(d.to, message, false)
	return err
}

// take runs until close. What has come together is confirmed together, as a peer does that commits it together.
func (d *device) take(f func([]byte)) {
	d.ended.Go(func() {
		var ids []uint64
		for pushed := range d.conn.Pushes() {
			for i := range pushed.Deliveries {
				f(pushed.Deliveries[i].Envelope)
				ids = append(ids, pushed.Deliveries[i].ID)
			}
			for _, o := range pushed.Outcomes {
				d.outcome(o.State)
			}
			if len(ids) > 0 {
				if d.conn.Taken(ids...) != nil {
					return
				}
				ids = ids[:0]
			}
		}
	})
}

func (d *device) outcome(s rendezvous.Outcome_State) {
	switch s {
	case rendezvous.Outcome_STORED:
		d.stored.Add(1)
	case rendezvous.Outcome_REFUSED:
		d.failed.Add(1)
	default:
		d.taken.Add(1)
	}
	if d.told != nil {
		d.told()
	}
}

func (d *device) close() {
	_ = d.conn.Close()
	d.ended.Wait()
	d.leave()
}

// pair is two ends; the first sends and the second receives.
type pair struct {
	from, to  wire
	arrived   atomic.Uint64
	room      chan struct{}        // one for each message that may be sent when the load is crowded; made by open
	onArrival func(message []byte) // set before open, or nil
}

// hubPairs connects n pairs to the hub.
func hubPairs(tb testing.TB, h *hubProcess, n int, coalesced bool) []*pair {
	tb.Helper()
	pairs := make([]*pair, n)
	for i := range pairs {
		a, b := fmt.Sprintf("a%d-%v", i, coalesced), fmt.Sprintf("b%d-%v", i, coalesced)
		from, err := h.dial(a, b, coalesced)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(from.close)
		to, err := h.dial(b, a, coalesced)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(to.close)
		pairs[i] = &pair{from: from, to: to}
	}
	return pairs
}

// rendezvousPairs connects n pairs of devices to the rendezvous.
func rendezvousPairs(tb testing.TB, r *rendezvousProcess, n int) []*pair {
	tb.Helper()
	devices := r.devices(tb, 2*n)
	pairs := make([]*pair, n)
	for i := range pairs {
		from, to := devices[2*i], devices[2*i+1]
		from.to, to.to = to.fingerprint(), from.fingerprint()
		pairs[i] = &pair{from: from, to: to}
	}
	return pairs
}

// devices signs in the first n devices of the town.
func (r *rendezvousProcess) devices(tb testing.TB, n int) []*device {
	tb.Helper()
	accounts := people.accounts(tb, n)
	devices := make([]*device, n)
	err := inParallel(8, n, func(i int) (err error) {
		devices[i], err = accounts[i].arrive(tb.Context(), r.address)
		return err
	})
	for _, d := range devices {
		if d != nil {
			tb.Cleanup(d.close)
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
	return devices
}

// inParallel calls f with 0 to n-1, at most workers at a time, and returns one of the errors. After an error it begins no more.
func inParallel(workers, n int, f func(int) error) error {
	var (
		next   atomic.Int64
		failed atomic.Pointer[error]
		all    sync.WaitGroup
	)
	for range min(n, workers) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// background is for what must be brought to its end when a measurement is over.
var background = context.Background()
