package interop_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"flag"
	"math/big"
	"os"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
	"github.com/byway-chat/byway/crypto/password"
	"github.com/byway-chat/byway/crypto/session"
	"github.com/byway-chat/byway/rendezvous"
)

var makeVectors = flag.Bool("make-vectors", false, "write vectors.json anew; it is frozen, so only a new protocol version may")

// maker writes the vectors: the good ones by the packages, the bad ones by hand.
type maker struct {
	*testing.T
	bench
	host peer.ID // the rendezvous
}

// The devices: 0 and 3 are alice's, 1 is bob's, 2 is carol's. Device 4's host key is the rendezvous's.
var (
	alice = party{"alice", 0}
	bob   = party{"bob", 1}
	carol = party{"carol", 2}
)

const made = 1767225600000 // 2026-01-01

func TestMakeVectors(t *testing.T) {
	if !*makeVectors {
		t.Skip("the vectors are frozen")
	}
	m := &maker{T: t}
	for i := range 5 {
		k := identitytest.Keyring(i)
		m.keys = append(m.keys, k)
		text, err := k.ExportPEM()
		m.check(err)
		m.Keyrings = append(m.Keyrings, keyring{
			KeyFile: string(text), Fingerprint: fingerprint(k), KeyID: kid(k), PeerID: peerID(t, k).String(),
		})
	}
	m.host = peerID(t, m.keys[4])
	m.About, m.Fields = about, fields
	m.envelopes()
	m.forgedInits()
	m.entries()
	m.bundles()
	m.rest()
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetIndent("", " ")
	encoder.SetEscapeHTML(false)
	m.check(encoder.Encode(m.document))
	m.check(os.WriteFile(vectorFile, out.Bytes(), 0o644))
}

var about = []string{
	"Frozen test vectors of docs/protocol.md. The private keys are published: they are for tests only.",
	"Run the vectors in order: a msg needs the receiver that its init left, as the msgs before it left that.",
	"Devices 0 and 3 are alice's, 1 is bob's, 2 is carol's; 4 lends its host key to the rendezvous. A sender's identity key is looked up among these by fingerprint.",
	"Every vector says what to expect: ok, or one of the failures open (the one failure of envelopes), replayed (a number opened before) and key-refused (a signed record).",
}

var fields = map[string]string{
	"*":                "bytes are lower-case hexadecimal digits, devices are indexes into keyrings, times are Unix milliseconds; an absent number is 0, an absent list or text is empty",
	"comment":          "what is tried, and for a failure what is wrong",
	"device":           "entry: who signed; bundle, possession: whose it is, and whose identity key verifies it",
	"devices":          "entry: its devices in order; safety-number: a user's devices",
	"envelope":         "init, msg: the envelope to open",
	"expect":           "ok, open, replayed or key-refused",
	"init":             "msg: the id of the init vector that began the session",
	"keyrings":         "key_file is the key file in the clear; fingerprint, kid (of the newest encryption key) and peer_id follow from it",
	"kind":             "init, msg, entry, bundle, possession, safety-number or password",
	"nonce":            "possession: the rendezvous's nonce",
	"number":           "safety-number: the result",
	"opened":           "init: what comes out",
	"password, phc":    "password: a prepared password and the record it opens",
	"payload":          "msg: what comes out",
	"recipient":        "init: who opens it; the newest encryption key of the device is tried",
	"record":           "entry, bundle: body and signature; possession: the signature",
	"rendezvous":       "entry, bundle, possession: PeerID in base58",
	"steps":            "init: the values on the way, by their names in docs/protocol.md",
	"times":            "entry: issued, then added of each device; bundle: not before, not after",
	"username, seq":    "entry, bundle, possession: as in the record",
	"users":            "safety-number: the two users",
	"opened.from":      "the sender: name, and device by its fingerprint",
	"opened.*":         "as the fields of inner",
	"vectors[].id":     "a name for the vector, unique",
	"vectors[].expect": "for a failure nothing else about the result is said",
}

func (m *maker) check(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func (m *maker) add(v vector) { m.Vectors = append(m.Vectors, v) }

func (m *maker) begin(from, to party, prev session.ID, prevCount uint64, checkpoint, payload []byte) (*session.Sender, []byte) {
	sender, envelope, err := session.Begin(rand.Reader, session.Start{
		From: m.party(from), Signer: m.keys[from.Device].Identity, To: m.party(to),
		Key: m.keys[to.Device].Encryption[0].Public(), Time: at(made), Prev: prev, PrevCount: prevCount, Checkpoint: checkpoint,
	}, payload)
	m.check(err)
	return sender, envelope
}

func (m *maker) envelopes() {
	sender, envelope := m.begin(alice, bob, session.ID{}, 0, nil, []byte("hello, bob"))
	m.addInit("init-plain", "a first session", envelope, bob, opened{
		From: alice, Time: made, Prev: make([]byte, 16), Payload: []byte("hello, bob"),
	})
	var sealed [][]byte
	payloads := []string{"", "first", "second", "third", "", "a payload that ends like padding\x80\x00\x00", string(bytes.Repeat([]byte("long "), 60))}
	for _, payload := range payloads[1:] {
		envelope, err := sender.Seal([]byte(payload))
		m.check(err)
		sealed = append(sealed, envelope)
	}
	msg := func(id, comment string, n int, expect string, change func([]byte) []byte) {
		v := vector{ID: id, Kind: "msg", Comment: comment, Expect: expect, Init: "init-plain", Envelope: change(bytes.Clone(sealed[n-1]))}
		if expect == "ok" {
			v.Payload = []byte(payloads[n])
		}
		m.add(v)
	}
	same := func(b []byte) []byte { return b }
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 1; return b }
	}
	msg("msg-1", "number 1", 1, "ok", same)
	msg("msg-1-again", "number 1 again", 1, "replayed", same)
	msg("msg-3-forged", "number 3 with one bit of its tag turned", 3, "open", flip(-1))
	msg("msg-3-renumbered", "number 3 that says it is number 5", 3, "open", func(b []byte) []byte { b[18] = 5; return b })
	msg("msg-3-long-number", "number 3 in two bytes", 3, "open", func(b []byte) []byte { return slices.Insert(b, 18, 0x83)[:len(b)+1] })
	msg("msg-3", "number 3 before number 2", 3, "ok", same)
	msg("msg-2-cut", "number 2 without its last byte", 2, "open", func(b []byte) []byte { return b[:len(b)-1] })
	msg("msg-2", "number 2, late", 2, "ok", same)
	msg("msg-2-again", "number 2 again", 2, "replayed", same)
	msg("msg-4", "number 4, an empty payload", 4, "ok", same)
	msg("msg-6", "number 6, over the padding's floor; number 5 never came", 6, "ok", same)
	msg("msg-5-version", "number 5 of version 2", 5, "open", func(b []byte) []byte { b[0] = 2; return b })
	msg("msg-5-session", "number 5 of another session", 5, "open", flip(2))
	msg("msg-5", "number 5", 5, "ok", same)

	_, envelope = m.begin(carol, bob, session.ID{1, 2, 3, 4}, 300, []byte("checkpoint of the log"), bytes.Repeat([]byte("x"), 1000))
	m.addInit("init-full", "a later session: every field is used", envelope, bob, opened{
		From: carol, Time: made, Prev: append([]byte{1, 2, 3, 4}, make([]byte, 12)...), PrevCount: 300,
		Checkpoint: []byte("checkpoint of the log"), Payload: bytes.Repeat([]byte("x"), 1000),
	})
	name := party{"жофия-с-длинным-именем", 3}
	_, envelope = m.begin(name, bob, session.ID{}, 0, nil, nil)
	m.addInit("init-name", "a name of many bytes and an empty payload", envelope, bob, opened{From: name, Time: made, Prev: make([]byte, 16)})
	extended := m.craft(bob, []byte("what version 1 does not know"), func(header []byte) []byte {
		return m.inner(header, alice, bob, "byway/v1 init signature", []byte("hello"))
	})
	m.addInit("init-extension", "a header extension, to be ignored and authenticated", extended, bob, opened{
		From: alice, Time: made, Prev: make([]byte, 16), Payload: []byte("hello"),
	})
	extended = bytes.Clone(extended)
	extended[5] ^= 1
	m.bad("init", "init-extension-changed", "one bit of the extension turned", "open", vector{Envelope: extended, Recipient: &bob})
}

func (m *maker) addInit(id, comment string, envelope []byte, to party, o opened) {
	s := stepsOf(m.T, envelope, m.keys[to.Device].Encryption[0])
	m.add(vector{ID: id, Kind: "init", Comment: comment, Expect: "ok", Envelope: envelope, Recipient: &to, Opened: &o, Steps: &s})
}

func (m *maker) bad(kind, id, comment, expect string, v vector) {
	v.Kind, v.ID, v.Comment, v.Expect = kind, id, comment, expect
	m.add(v)
}

func (m *maker) forgedInits() {
	_, good := m.begin(alice, bob, session.ID{}, 0, nil, []byte("hello"))
	change := func(id, comment string, edit func([]byte) []byte) {
		m.bad("init", id, comment, "open", vector{Envelope: edit(bytes.Clone(good)), Recipient: &bob})
	}
	change("init-version", "version 2", func(b []byte) []byte { b[0] = 2; return b })
	change("init-suite", "suite 2", func(b []byte) []byte { b[2] = 2; return b })
	change("init-kid", "one bit of kid turned", func(b []byte) []byte { b[5] ^= 1; return b })
	change("init-c1", "one bit of c1 turned", func(b []byte) []byte { b[100] ^= 1; return b })
	change("init-c2", "one bit of c2 turned", func(b []byte) []byte { b[1000] ^= 1; return b })
	change("init-tag", "one bit of the tag turned", func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	change("init-cut", "the last byte is missing", func(b []byte) []byte { return b[:len(b)-1] })
	change("init-header-only", "nothing behind the header", func(b []byte) []byte { return b[:1485] })

	m.bad("init", "init-other-name", "the recipient's key under another name", "open", vector{Envelope: good, Recipient: &party{"mallory", 1}})
	inner := m.open(good, bob)
	m.bad("init", "init-forwarded", "bob has sealed to carol what alice sent to bob", "open",
		vector{Envelope: m.craft(carol, nil, func([]byte) []byte { return inner }), Recipient: &carol})
	m.bad("init", "init-swapped", "the inner part of one Init under the header of another", "open",
		vector{Envelope: m.craft(bob, nil, func([]byte) []byte { return inner }), Recipient: &bob})
	for _, tc := range []struct {
		id, comment string
		inner       func(header []byte) []byte
	}{
		{"init-domain", "signed under the domain of a directory entry", func(header []byte) []byte {
			return m.inner(header, alice, bob, "byway/v1 directory entry", []byte("hello"))
		}},
		{"init-domain-without-init", "signed under a domain that is a prefix", func(header []byte) []byte {
			return m.inner(header, alice, bob, "byway/v1 init", []byte("hello"))
		}},
		{"init-stripped", "zeros for the signature", func(header []byte) []byte {
			b := m.inner(header, alice, bob, "byway/v1 init signature", []byte("hello"))
			clear(b[77:461])
			return b
		}},
		{"init-other-sender", "signed by carol, claims to be alice", func(header []byte) []byte {
			b := m.inner(header, alice, bob, "byway/v1 init signature", []byte("hello"))
			c := m.inner(header, party{"alice", 2}, bob, "byway/v1 init signature", []byte("hello"))
			copy(b[77:461], c[77:461])
			return b
		}},
		{"init-time", "another time than the signed one", func(header []byte) []byte {
			b := m.inner(header, alice, bob, "byway/v1 init signature", []byte("hello"))
			b[48] ^= 1
			return b
		}},
		{"init-unpadded", "no 0x80 behind the payload", func(header []byte) []byte {
			b := m.inner(header, alice, bob, "byway/v1 init signature", []byte("hello"))
			return append(b[:461], make([]byte, 128)...)
		}},
		{"init-name-length", "a name longer than all of inner", func(header []byte) []byte {
			b := m.inner(header, alice, bob, "byway/v1 init signature", []byte("hello"))
			b[0] = 0xff
			return b
		}},
	} {
		m.bad("init", tc.id, tc.comment, "open", vector{Envelope: m.craft(bob, nil, tc.inner), Recipient: &bob})
	}
}

func lp(b, field []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(field)))
	return append(b, field...)
}

func u64(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }

// craft seals whatever inner makes of the header.
func (m *maker) craft(to party, extension []byte, inner func(header []byte) []byte) []byte {
	key := m.keys[to.Device].Encryption[0].Public()
	secret, c1, c2, err := key.Encapsulate(rand.Reader)
	m.check(err)
	id := key.ID()
	header := binary.BigEndian.AppendUint16([]byte{1, 1, 1}, uint16(len(extension)))
	header = slices.Concat(header, extension, id[:], c1, c2)
	s := derive(m.T, secret, header)
	return aead(m.T, s.Key).Seal(bytes.Clone(header), s.Nonce, inner(header), header)
}

func (m *maker) inner(header []byte, from, to party, domain string, payload []byte) []byte {
	sender, recipient := m.party(from), m.party(to)
	none := make([]byte, 16)
	signed := lp(lp(lp(nil, header), []byte(sender.Name)), sender.Fingerprint[:])
	signed = lp(lp(signed, []byte(recipient.Name)), recipient.Fingerprint[:])
	signed = lp(lp(lp(lp(signed, u64(made)), none), u64(0)), nil)
	sig, err := m.keys[from.Device].Identity.Sign(domain, signed)
	m.check(err)
	b := slices.Concat(lp(nil, []byte(sender.Name)), sender.Fingerprint[:], u64(made), none, u64(0), lp(nil, nil), sig)
	b = append(append(b, payload...), 0x80)
	return append(b, make([]byte, 128-len(sender.Name)-len(payload)-1)...)
}

// open is what the recipient finds inside a good Init.
func (m *maker) open(envelope []byte, to party) []byte {
	s := stepsOf(m.T, envelope, m.keys[to.Device].Encryption[0])
	inner, err := aead(m.T, s.Key).Open(nil, s.Nonce, envelope[1485:], envelope[:1485])
	m.check(err)
	return inner
}

func aead(t *testing.T, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return gcm
}

// derive is the key schedule of docs/protocol.md, written a second time.
func derive(t *testing.T, secret [32]byte, header []byte) steps {
	t.Helper()
	sum := sha256.Sum256(header)
	out, err := hkdf.Key(sha256.New, secret[:], nil, "byway/v1 init"+string(sum[:]), 76)
	if err != nil {
		t.Fatal(err)
	}
	return steps{Session: sum[:16], Secret: secret[:], Key: out[:32], Nonce: out[32:44], Chain: out[44:]}
}

func stepsOf(t *testing.T, envelope []byte, key *identity.EncryptionPrivateKey) steps {
	t.Helper()
	size := 1485 + int(binary.BigEndian.Uint16(envelope[3:]))
	header := envelope[:size]
	secret, err := key.Decapsulate(header[size-1472:size-1088], header[size-1088:])
	if err != nil {
		t.Fatal(err)
	}
	return derive(t, secret, header)
}

// entryBody is a directory entry's body by hand, so that it can be wrong.
func (m *maker) entryBody(seq uint64, signer int, devices ...[2][]byte) []byte {
	b := slices.Concat([]byte{1}, lp(nil, []byte(m.host)), lp(nil, []byte("alice")), u64(seq), u64(made), []byte{byte(len(devices))})
	for _, d := range devices {
		b = slices.Concat(b, lp(nil, d[0]), lp(nil, d[1]), u64(made))
	}
	return append(b, fingerprint(m.keys[signer])...)
}

func (m *maker) device(i int) [2][]byte {
	return [2][]byte{m.keys[i].Identity.Public().SPKI(), []byte(peerID(m.T, m.keys[i]))}
}

func (m *maker) signed(signer int, domain string, body []byte) []byte {
	sig, err := m.keys[signer].Identity.Sign(domain, body)
	m.check(err)
	return slices.Concat(body, sig)
}

func (m *maker) entries() {
	const domain = "byway/v1 directory entry"
	one := m.signed(0, domain, m.entryBody(1, 0, m.device(0)))
	m.add(vector{
		ID: "entry-one", Kind: "entry", Comment: "the first entry of a name", Expect: "ok", Record: one,
		Rendezvous: m.host.String(), Username: "alice", Seq: 1, Times: []uint64{made, made}, Devices: []int{0}, Device: 0,
	})
	m.add(vector{
		ID: "entry-two", Kind: "entry", Comment: "a second device, which signs", Expect: "ok",
		Record:     m.signed(3, domain, m.entryBody(2, 3, m.device(0), m.device(3))),
		Rendezvous: m.host.String(), Username: "alice", Seq: 2, Times: []uint64{made, made, made}, Devices: []int{0, 3}, Device: 3,
	})
	oaep := identitytest.Keyring(0).Encryption[0].Public().RSA()
	spki := func(k *rsa.PublicKey) []byte {
		b, err := x509.MarshalPKIXPublicKey(k)
		m.check(err)
		return b
	}
	with := func(key []byte) []byte { return m.entryBody(1, 0, m.device(0), [2][]byte{key, m.device(1)[1]}) }
	small := new(big.Int).Rsh(oaep.N, 1024)
	third := new(big.Int).Sub(oaep.N, new(big.Int).Mod(oaep.N, big.NewInt(3)))
	if third.Bit(0) == 0 {
		third.Add(third, big.NewInt(3))
	}
	body := m.entryBody(1, 0, m.device(0))
	flipped := bytes.Clone(one)
	flipped[60] ^= 1
	for _, tc := range []struct {
		id, comment string
		record      []byte
	}{
		{"entry-flipped", "one bit turned behind the signature's back", flipped},
		{"entry-cut", "the last byte is missing", one[:len(one)-1]},
		{"entry-domain", "signed under the domain of a bundle", m.signed(0, "byway/v1 prekey bundle", body)},
		{"entry-stranger", "signed by a device it does not list", m.signed(1, domain, m.entryBody(1, 1, m.device(0)))},
		{"entry-other-signer", "names one signer, signed by the other", m.signed(3, domain, m.entryBody(2, 0, m.device(0), m.device(3)))},
		{"entry-trailing", "a byte between body and signature, signed", m.signed(0, domain, append(bytes.Clone(body), 0))},
		{"entry-version", "version 2", m.signed(0, domain, append([]byte{2}, body[1:]...))},
		{"entry-empty", "no device", m.signed(0, domain, m.entryBody(1, 0))},
		{"entry-nine", "nine devices", m.signed(0, domain, m.entryBody(1, 0, slices.Repeat([][2][]byte{m.device(0)}, 9)...))},
		{"entry-seq-0", "seq 0", m.signed(0, domain, m.entryBody(0, 0, m.device(0)))},
		{"entry-twice", "one device twice", m.signed(0, domain, m.entryBody(1, 0, m.device(0), m.device(0)))},
		{"entry-peer-twice", "one PeerID twice", m.signed(0, domain, m.entryBody(1, 0, m.device(0), [2][]byte{m.device(1)[0], m.device(0)[1]}))},
		{"entry-peer-kind", "a PeerID that is not Ed25519's", m.signed(0, domain, m.entryBody(1, 0, m.device(0),
			[2][]byte{m.device(1)[0], append([]byte{0x12, 0x20}, make([]byte, 32)...)}))},
		{"entry-2048", "a key of 2048 bits", m.signed(0, domain, with(spki(&rsa.PublicKey{N: small.SetBit(small, 0, 1), E: 65537})))},
		{"entry-e3", "a key with exponent 3", m.signed(0, domain, with(spki(&rsa.PublicKey{N: oaep.N, E: 3})))},
		{"entry-e-65539", "a key with exponent 65539", m.signed(0, domain, with(spki(&rsa.PublicKey{N: oaep.N, E: 65539})))},
		{"entry-even", "an even modulus", m.signed(0, domain, with(spki(&rsa.PublicKey{N: new(big.Int).Sub(oaep.N, big.NewInt(1)), E: 65537})))},
		{"entry-factor", "a modulus that 3 divides", m.signed(0, domain, with(spki(&rsa.PublicKey{N: third, E: 65537})))},
	} {
		m.bad("entry", tc.id, tc.comment, "key-refused", vector{Record: tc.record})
	}
}

func (m *maker) bundleBody(user string, device, peerOf, key int, times [2]uint64, suite byte) []byte {
	public := m.keys[key].Encryption[0].Public()
	return slices.Concat([]byte{1}, lp(nil, []byte(m.host)), lp(nil, []byte(user)), fingerprint(m.keys[device]), lp(nil, m.device(peerOf)[1]),
		u64(7), u64(times[0]), u64(times[1]), []byte{suite}, lp(nil, public.PKCS1()), lp(nil, public.MLKEM()))
}

func (m *maker) bundles() {
	const domain = "byway/v1 prekey bundle"
	times := [2]uint64{made, made + 14*86400000}
	body := m.bundleBody("bob", 1, 1, 1, times, 1)
	good := m.signed(1, domain, body)
	m.add(vector{
		ID: "bundle", Kind: "bundle", Comment: "bob's bundle", Expect: "ok", Record: good,
		Rendezvous: m.host.String(), Username: "bob", Seq: 7, Times: times[:], Device: 1,
	})
	flipped := bytes.Clone(good)
	flipped[700] ^= 1
	for _, tc := range []struct {
		id, comment string
		record      []byte
	}{
		{"bundle-flipped", "one bit turned behind the signature's back", flipped},
		{"bundle-cut", "the last byte is missing", good[:len(good)-1]},
		{"bundle-domain", "signed under the domain of an entry", m.signed(1, "byway/v1 directory entry", body)},
		{"bundle-other", "bob's bundle, signed by carol", m.signed(2, domain, body)},
		{"bundle-for-other", "carol's device, signed by bob", m.signed(1, domain, m.bundleBody("bob", 2, 1, 1, times, 1))},
		{"bundle-suite", "suite 2", m.signed(1, domain, m.bundleBody("bob", 1, 1, 1, times, 2))},
		{"bundle-times", "ends when it begins", m.signed(1, domain, m.bundleBody("bob", 1, 1, 1, [2]uint64{made, made}, 1))},
		{"bundle-year-10000", "ends after the year 9999", m.signed(1, domain, m.bundleBody("bob", 1, 1, 1, [2]uint64{made, 253402300800000}, 1))},
		{"bundle-trailing", "a byte between body and signature, signed", m.signed(1, domain, append(bytes.Clone(body), 0))},
	} {
		m.bad("bundle", tc.id, tc.comment, "key-refused", vector{Record: tc.record, Device: 1})
	}
}

func (m *maker) rest() {
	nonce := bytes.Repeat([]byte{7}, 32)
	proof, err := rendezvous.SignPossession(m.keys[1].Identity, m.host, "bob", peerID(m.T, m.keys[1]), nonce)
	m.check(err)
	v := vector{Record: proof, Rendezvous: m.host.String(), Username: "bob", Device: 1, Nonce: nonce}
	m.bad("possession", "possession", "bob's proof", "ok", v)
	v.Username = "bobby"
	m.bad("possession", "possession-name", "for another name", "key-refused", v)
	v.Username, v.Nonce = "bob", bytes.Repeat([]byte{8}, 32)
	m.bad("possession", "possession-nonce", "for another stream", "key-refused", v)
	v.Nonce, v.Rendezvous = nonce, peerID(m.T, m.keys[3]).String()
	m.bad("possession", "possession-rendezvous", "for another rendezvous", "key-refused", v)

	users := []user{{"alice", []int{3, 0}}, {"bob", []int{1}}}
	number := func(users []user) string {
		var p [2]identity.Party
		for i, u := range users {
			p[i].Name = u.Name
			for _, d := range u.Devices {
				p[i].Keys = append(p[i].Keys, m.keys[d].Identity.Public().Fingerprint())
			}
		}
		return identity.SafetyNumber(p[0], p[1])
	}
	m.add(vector{ID: "safety-number", Kind: "safety-number", Comment: "alice has two devices", Expect: "ok", Users: users, Number: number(users)})
	slices.Reverse(users)
	m.add(vector{ID: "safety-number-reversed", Kind: "safety-number", Comment: "the same from the other side", Expect: "ok", Users: users, Number: number(users)})
	phc, err := password.Hash([]byte("three green owls"), password.Small)
	m.check(err)
	m.add(vector{ID: "password", Kind: "password", Comment: "the small profile", Expect: "ok", Password: "three green owls", PHC: phc})
}
