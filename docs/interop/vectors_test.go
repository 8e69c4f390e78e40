// Package interop_test holds the program to the frozen vectors of docs/protocol.md, and has a second implementation, written
// for Node, open the same.
package interop_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/password"
	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/rendezvous"
)

const vectorFile = "vectors.json"

// hexBytes are bytes that JSON carries as lower-case hexadecimal digits.
type hexBytes []byte

func (h hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h), nil }

func (h *hexBytes) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}

// document is vectors.json; its Fields say what each field means.
type document struct {
	About    []string          `json:"about"`
	Fields   map[string]string `json:"fields"`
	Keyrings []keyring         `json:"keyrings"`
	Vectors  []vector          `json:"vectors"`
}

type keyring struct {
	KeyFile     string   `json:"key_file"`
	Fingerprint hexBytes `json:"fingerprint"`
	KeyID       hexBytes `json:"kid"`
	PeerID      string   `json:"peer_id"`
}

type vector struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Comment string `json:"comment"`
	Expect  string `json:"expect"`

	Envelope  hexBytes `json:"envelope,omitempty"`
	Recipient *party   `json:"recipient,omitempty"`
	Opened    *opened  `json:"opened,omitempty"`
	Steps     *steps   `json:"steps,omitempty"`
	Init      string   `json:"init,omitempty"`
	Payload   hexBytes `json:"payload,omitempty"`

	Record     hexBytes `json:"record,omitempty"`
	Rendezvous string   `json:"rendezvous,omitempty"`
	Username   string   `json:"username,omitempty"`
	Seq        uint64   `json:"seq,omitempty"`
	Times      []uint64 `json:"times,omitempty"`
	Devices    []int    `json:"devices,omitempty"`
	Device     int      `json:"device,omitempty"`
	Nonce      hexBytes `json:"nonce,omitempty"`

	Users    []user `json:"users,omitempty"`
	Number   string `json:"number,omitempty"`
	Password string `json:"password,omitempty"`
	PHC      string `json:"phc,omitempty"`
}

type party struct {
	Name   string `json:"name"`
	Device int    `json:"device"`
}

type user struct {
	Name    string `json:"name"`
	Devices []int  `json:"devices"`
}

type opened struct {
	From       party    `json:"from"`
	Time       uint64   `json:"time"`
	Prev       hexBytes `json:"previous_sid"`
	PrevCount  uint64   `json:"previous_count"`
	Checkpoint hexBytes `json:"checkpoint"`
	Payload    hexBytes `json:"payload"`
}

type steps struct {
	Session hexBytes `json:"sid"`
	Secret  hexBytes `json:"ss"`
	Key     hexBytes `json:"key"`
	Nonce   hexBytes `json:"nonce"`
	Chain   hexBytes `json:"ck_1"`
}

// bench is what the vectors are run with.
type bench struct {
	document
	keys      []*identity.Keyring
	receivers map[string]*session.Receiver // by the id of the init vector
}

func load(t *testing.T) *bench {
	t.Helper()
	text, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{receivers: make(map[string]*session.Receiver)}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&b.document); err != nil {
		t.Fatal(err)
	}
	for _, k := range b.Keyrings {
		keys, err := identity.ImportPEM([]byte(k.KeyFile))
		if err != nil {
			t.Fatal(err)
		}
		b.keys = append(b.keys, keys)
	}
	return b
}

func peerID(t testing.TB, k *identity.Keyring) peer.ID {
	t.Helper()
	host, err := crypto.UnmarshalEd25519PrivateKey(k.Host)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(host)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// party is a user on one of the vectors' devices.
func (b *bench) party(p party) session.Party {
	return session.Party{Name: p.Name, Fingerprint: b.keys[p.Device].Identity.Public().Fingerprint()}
}

// identityOf knows the devices of the vectors.
func (b *bench) identityOf(p session.Party) (*identity.PublicKey, error) {
	for _, k := range b.keys {
		if k.Identity.Public().Fingerprint() == p.Fingerprint {
			return k.Identity.Public(), nil
		}
	}
	return nil, session.ErrOpen
}

// outcome is the word that a vector expects of an error.
func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, session.ErrReplayed):
		return "replayed"
	case errors.Is(err, session.ErrOpen):
		return "open"
	}
	return string(rendezvous.CodeOf(err))
}

func TestVectors(t *testing.T) {
	b := load(t)
	for i, k := range b.Keyrings {
		got := keyring{
			KeyFile: k.KeyFile, Fingerprint: fingerprint(b.keys[i]), KeyID: kid(b.keys[i]), PeerID: peerID(t, b.keys[i]).String(),
		}
		if diff := cmp.Diff(k, got); diff != "" {
			t.Errorf("keyring %d (-want +got):\n%s", i, diff)
		}
	}
	kinds := make(map[string]int)
	for _, v := range b.Vectors {
		t.Run(v.ID, func(t *testing.T) {
			kinds[v.Kind]++
			if got := outcome(b.run(t, v)); got != v.Expect {
				t.Errorf("%s: got %s, want %s", v.Comment, got, v.Expect)
			}
		})
	}
	for _, kind := range []string{"init", "msg", "entry", "bundle", "possession", "safety-number", "password"} {
		if kinds[kind] == 0 {
			t.Errorf("no vector of kind %s", kind)
		}
	}
}

func fingerprint(k *identity.Keyring) hexBytes {
	f := k.Identity.Public().Fingerprint()
	return f[:]
}

func kid(k *identity.Keyring) hexBytes {
	id := k.Encryption[0].Public().ID()
	return id[:]
}

// run does what the vector asks, and fails the test itself where a success has another content than expected.
func (b *bench) run(t *testing.T, v vector) error {
	switch v.Kind {
	case "init":
		return b.runInit(t, v)
	case "msg":
		return b.runMsg(t, v)
	case "entry":
		return b.runEntry(t, v)
	case "bundle":
		return b.runBundle(t, v)
	case "possession":
		return rendezvous.VerifyPossession(b.keys[v.Device].Identity.Public(), decodePeerID(t, v.Rendezvous),
			rendezvous.Username(v.Username), peerID(t, b.keys[v.Device]), v.Nonce, v.Record)
	case "safety-number":
		return b.runSafetyNumber(t, v)
	case "password":
		ok, _, err := password.Default.Verify(v.PHC, []byte(v.Password))
		if err == nil && !ok {
			t.Error("the password is not the record's")
		}
		return err
	}
	t.Fatalf("unknown kind %q", v.Kind)
	return nil
}

func (b *bench) runInit(t *testing.T, v vector) error {
	got, err := session.Accept(v.Envelope, b.keys[v.Recipient.Device].Encryption[0], b.party(*v.Recipient), b.identityOf)
	if err != nil {
		return err
	}
	b.receivers[v.ID] = got.Receiver
	from := v.Opened.From
	if got.From != b.party(from) {
		t.Errorf("from %v, want %v", got.From, from)
	}
	diff := cmp.Diff(*v.Opened, opened{
		From: from, Time: uint64(got.Time.UnixMilli()), Prev: got.Prev[:], PrevCount: got.PrevCount,
		Checkpoint: got.Checkpoint, Payload: got.Payload,
	})
	if diff != "" {
		t.Errorf("opened (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(*v.Steps, stepsOf(t, v.Envelope, b.keys[v.Recipient.Device].Encryption[0])); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if id := got.Receiver.ID(); !bytes.Equal(id[:], v.Steps.Session) {
		t.Errorf("session %s", id)
	}
	return nil
}

func (b *bench) runMsg(t *testing.T, v vector) error {
	got, err := b.receivers[v.Init].Open(v.Envelope)
	if err == nil && !bytes.Equal(got, v.Payload) {
		t.Errorf("payload %x, want %x", got, v.Payload)
	}
	return err
}

func (b *bench) runEntry(t *testing.T, v vector) error {
	e, err := rendezvous.ParseEntry(v.Record)
	if err != nil {
		return err
	}
	got := vector{Rendezvous: e.Rendezvous.String(), Username: string(e.Username), Seq: e.Seq, Times: []uint64{uint64(e.Issued.UnixMilli())}}
	for i, d := range e.Devices {
		got.Times = append(got.Times, uint64(d.Added.UnixMilli()))
		want := b.keys[v.Devices[i]]
		if !d.Key.Equal(want.Identity.Public()) || d.PeerID != peerID(t, want) {
			t.Errorf("device %d is another", i)
		}
	}
	if e.Signer != b.keys[v.Device].Identity.Public().Fingerprint() {
		t.Errorf("signed by %s", e.Signer)
	}
	want := vector{Rendezvous: v.Rendezvous, Username: v.Username, Seq: v.Seq, Times: v.Times}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
	return nil
}

func (b *bench) runBundle(t *testing.T, v vector) error {
	k := b.keys[v.Device]
	got, err := rendezvous.ParseBundle(v.Record, k.Identity.Public())
	if err != nil {
		return err
	}
	want := rendezvous.Bundle{
		Rendezvous: decodePeerID(t, v.Rendezvous), Username: rendezvous.Username(v.Username), PeerID: peerID(t, k), Seq: v.Seq,
		Device: k.Identity.Public().Fingerprint(), NotBefore: at(v.Times[0]), NotAfter: at(v.Times[1]),
	}
	if got.Key.ID() != k.Encryption[0].Public().ID() {
		t.Error("another encryption key")
	}
	got.Key = nil
	if diff := cmp.Diff(want, *got); diff != "" {
		t.Errorf("bundle (-want +got):\n%s", diff)
	}
	return nil
}

func (b *bench) runSafetyNumber(t *testing.T, v vector) error {
	var parties [2]identity.Party
	for i, u := range v.Users {
		parties[i].Name = u.Name
		for _, d := range u.Devices {
			parties[i].Keys = append(parties[i].Keys, b.keys[d].Identity.Public().Fingerprint())
		}
	}
	if got := identity.SafetyNumber(parties[0], parties[1]); got != v.Number {
		t.Errorf("got %s, want %s", got, v.Number)
	}
	return nil
}

func at(ms uint64) time.Time { return time.UnixMilli(int64(ms)).UTC() }

func decodePeerID(t *testing.T, s string) peer.ID {
	t.Helper()
	id, err := peer.Decode(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}
