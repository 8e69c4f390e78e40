package peer

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	libpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
	"github.com/byway-chat/byway/peer/route"
	"github.com/byway-chat/byway/rendezvous"
	"github.com/byway-chat/byway/rendezvous/client"
	"github.com/byway-chat/byway/rendezvous/framing"
)

// contactsOf gives the core contacts with these policies, by name; empty is none of their own.
func contactsOf(c *core, policies map[string]string) {
	clear(c.contacts)
	for name, policy := range policies {
		c.contacts[delivery.Account(name)] = &contact{Contact: &history.Contact{Name: delivery.Account(name), Policy: policy}}
	}
}

// TestWithheld: the directory is to withhold from those whose own policy allows no direct way, whatever holds for all.
func TestWithheld(t *testing.T) {
	c, _ := desk(t)
	contactsOf(c, map[string]string{
		"ann": "", "ben": "auto", "cem": "lan", "dan": "direct", "eve": "relay", "fay": "relay", "gus": "a policy of a newer program",
	})
	for _, forAll := range []route.Policy{route.Auto, route.LAN, route.Direct, route.Relay, noPolicy} {
		c.standing.policy = forAll
		if diff := cmp.Diff([]string{"eve", "fay", "gus"}, c.withheld()); diff != "" {
			t.Errorf("%v for all (-want +got):\n%s", forAll, diff)
		}
	}
}

// listener is a rendezvous that notes in words what is published to it, and answers with the codes it is given, one after the other; then with Done.
type listener struct {
	lookups atomic.Int32

	mu        sync.Mutex // guards the following
	published []string
	answers   []rendezvous.Code
}

// connect has the core's host talk to the rendezvous, which withholds from at most so many.
func (r *listener) connect(t *testing.T, c *core, most uint32) *client.Conn {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	h.SetStreamHandler(rendezvous.ProtocolID, func(s network.Stream) {
		defer s.Close()
		in := framing.NewReader(s)
		for {
			f, err := in.NextFrame()
			if err != nil {
				return
			}
			out := &rendezvous.Frame{Id: f.GetId(), Body: &rendezvous.Frame_Done{Done: new(rendezvous.Done)}}
			switch {
			case f.GetHello() != nil:
				out.Body = &rendezvous.Frame_Welcome{Welcome: &rendezvous.Welcome{Version: 1, Nonce: make([]byte, 32), MaxWithheld: most}}
			case f.GetPublish() != nil:
				if code := r.hear(f.GetPublish()); code != "" {
					out.Body = &rendezvous.Frame_Failure{Failure: &rendezvous.Failure{Code: string(code), Message: "no"}}
				}
			case f.GetLookup() != nil:
				r.lookups.Add(1)
			}
			b, err := rendezvous.AppendFrame(nil, out)
			if err != nil {
				t.Errorf("encode: %v", err)
			}
			_, _ = s.Write(b)
		}
	})
	conn, err := client.Dial(t.Context(), client.Options{Host: c.host, Rendezvous: libpeer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (r *listener) hear(p *rendezvous.Publish) (answer rendezvous.Code) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what := "as it was"
	switch {
	case p.GetHideAddresses():
		what = "hidden"
	case len(p.GetPeerRecord()) > 0:
		what = "told"
	}
	if p.GetWithheld() != nil {
		what += fmt.Sprintf(" but to %q", strings.Join(p.GetWithheld().GetUsernames(), " "))
	}
	r.published = append(r.published, what)
	if len(r.answers) > 0 {
		answer, r.answers = r.answers[0], r.answers[1:]
	}
	return answer
}

// TestWhereIsTold publishes under different policies to rendezvous of which some withhold from nobody, or from too few, or refuse. None is ever told
// an address that it might pass on to one who is not to have it.
func TestWhereIsTold(t *testing.T) {
	many := map[string]string{}
	for i := range rendezvous.MaxWithheld + 1 {
		many[fmt.Sprint("user", i)] = "relay"
	}
	for _, tt := range []struct {
		name     string
		policies map[string]string
		all      route.Policy
		private  bool
		most     uint32
		answers  []rendezvous.Code
		want     []string
		refused  rendezvous.Code
	}{
		{name: "to everybody", policies: map[string]string{"bob": "lan"}, most: 1024, want: []string{`told but to ""`}},
		{name: "but to bob", policies: map[string]string{"bob": "relay", "carol": ""}, most: 1024, want: []string{`told but to "bob"`}},
		{name: "under lan for all", policies: map[string]string{"bob": "relay"}, all: route.LAN, most: 1024, want: []string{`told but to "bob"`}},
		{name: "under relay for all", policies: map[string]string{"bob": "relay"}, all: route.Relay, most: 1024, want: []string{`hidden but to "bob"`}},
		{name: "in passing", policies: map[string]string{"bob": "relay"}, private: true, most: 1024, want: []string{`hidden but to "bob"`}},
		{name: "an older rendezvous, and nobody to keep it from", policies: map[string]string{"bob": "direct"}, want: []string{`told but to ""`}},
		{name: "an older rendezvous", policies: map[string]string{"bob": "relay"}, want: []string{"hidden"}},
		{name: "as many as it takes", policies: map[string]string{"bob": "relay", "eve": "relay"}, most: 2, want: []string{`told but to "bob eve"`}},
		{name: "more than it takes", policies: map[string]string{"bob": "relay", "eve": "relay"}, most: 1, want: []string{"hidden"}},
		{name: "more than is possible", policies: many, most: 1 << 31, want: []string{"hidden"}},
		{
			name: "with a clock that was set back", policies: map[string]string{"bob": "relay"}, most: 1024, answers: []rendezvous.Code{rendezvous.CodeStale},
			want: []string{`told but to "bob"`, `hidden but to "bob"`, `told but to "bob"`},
		},
		{
			name: "a name that it refuses", policies: map[string]string{"bob": "relay"}, most: 1024, answers: []rendezvous.Code{rendezvous.CodeBadRequest},
			want: []string{`told but to "bob"`, "hidden"},
		},
		{
			name: "too many all the same", policies: map[string]string{"bob": "relay"}, most: 1024, answers: []rendezvous.Code{rendezvous.CodeTooLarge},
			want: []string{`told but to "bob"`, "hidden"},
		},
		{
			name: "too fast", policies: map[string]string{"bob": "relay"}, most: 1024, answers: []rendezvous.Code{rendezvous.CodeRateLimited},
			want: []string{`told but to "bob"`}, refused: rendezvous.CodeRateLimited,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := desk(t)
			contactsOf(c, tt.policies)
			c.standing.policy = tt.all
			r := &listener{answers: tt.answers}
			p := &Peer{core: c, cfg: Config{Private: tt.private}, host: c.host, keys: c.keys, log: c.log, publishing: make(chan struct{}, 1)}
			p.unlisted.Store(true) // as since an earlier rendezvous
			conn := r.connect(t, c, tt.most)
			ended := make(chan error, 1)
			go func() { ended <- p.publishAddresses(context.Background(), conn) }()
			(<-c.inbox)()
			hidden := tt.want[len(tt.want)-1] == "hidden"
			if err := <-ended; (err != nil) != (tt.refused != "") || err != nil && rendezvous.CodeOf(err) != tt.refused {
				t.Errorf("%v, want code %q", err, tt.refused)
			}
			if got, want := p.unlisted.Load(), hidden || tt.refused != ""; got != want {
				t.Errorf("told to be unlisted: %v, want %v", got, want)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			if diff := cmp.Diff(tt.want, r.published); diff != "" {
				t.Errorf("the directory was told (-want +got):\n%s", diff)
			}
		})
	}
}

// TestChangeDuringALookup: what the directory says has changed while a look-up is under way is asked for once more, as the answer may be older.
func TestChangeDuringALookup(t *testing.T) {
	c, _ := desk(t)
	contactsOf(c, map[string]string{"bob": ""})
	r := new(listener)
	c.conn = r.connect(t, c, 0)
	changed := &rendezvous.Presence{Changes: []*rendezvous.Change{{Kind: rendezvous.Change_KEYS, Username: "bob", Device: make([]byte, 32)}}}
	for range 3 {
		c.presence(time.Now(), changed)
	}
	for n := int32(1); n <= 2; n++ {
		select {
		case takeIn := <-c.inbox:
			takeIn()
		case <-time.After(20 * time.Second):
			t.Fatalf("answer %d has not come", n)
		}
		if got := r.lookups.Load(); got > 2 {
			t.Errorf("%d look-ups after %d answers", got, n)
		}
	}
	if got := r.lookups.Load(); got != 2 || c.contacts["bob"].asking {
		t.Errorf("%d look-ups, want 2; one is under way: %v", got, c.contacts["bob"].asking)
	}
}
