package link

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/rendezvous"
)

func TestFramesGolden(t *testing.T) {
	rows := []struct {
		name string
		got  []byte
		hex  string
	}{
		{"hello", Hello{Name: "zoë", Fingerprint: identity.Fingerprint{0xaa, 31: 0xbb}}.frame(), "26" + "01" + "01" + "aa" + strings.Repeat("00", 30) + "bb" + "7a6fc3ab"},
		{"envelope", appendFrame(nil, kindEnvelope, []byte{1, 2, 3}), "04" + "02" + "010203"},
		{"long envelope", appendFrame(nil, kindEnvelope, make([]byte, 299)), "ac02" + "02" + strings.Repeat("00", 299)},
		{"ping", appendFrame(nil, kindPing, binary.BigEndian.AppendUint64(nil, 0x0102030405060708)), "09" + "03" + "0102030405060708"},
		{"pong", appendFrame(nil, kindPong, binary.BigEndian.AppendUint64(nil, 0x0102030405060708)), "09" + "04" + "0102030405060708"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if diff := cmp.Diff(hex.EncodeToString(row.got), row.hex); diff != "" {
				t.Errorf("encoded differs (-got +want):\n%s", diff)
			}
			for cut := range row.got {
				_, _, err := readFrame(bufio.NewReader(bytes.NewReader(row.got[:cut])))
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("cut to %d bytes: got %v, want an early end", cut, err)
				}
			}
		})
	}
}

func TestHello(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Hello{Name: rapid.StringN(0, 32, maxName).Draw(t, "name")}
		copy(want.Fingerprint[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "fingerprint"))
		got, err := readHello(bufio.NewReader(bytes.NewReader(want.frame())))
		if err != nil || got != want {
			t.Fatalf("got %v and %v, want %v", got, err, want)
		}
	})
}

// refusedHellos are first frames that neither side takes.
var refusedHellos = []struct {
	name  string
	bytes []byte
}{
	{"another kind", appendFrame(nil, kindEnvelope, []byte("early"))},
	{"empty frame", []byte{0}},
	{"no body", appendFrame(nil, kindHello, nil)},
	{"version 0", appendFrame(nil, kindHello, append([]byte{0}, make([]byte, 32)...))},
	{"version 2", appendFrame(nil, kindHello, append([]byte{2}, make([]byte, 40)...))},
	{"short fingerprint", appendFrame(nil, kindHello, append([]byte{1}, make([]byte, 31)...))},
	{"name too long", appendFrame(nil, kindHello, append([]byte{1}, make([]byte, 32+maxName+1)...))},
	{"name is no UTF-8", appendFrame(nil, kindHello, append(append([]byte{1}, make([]byte, 32)...), 0xff))},
	{"oversized frame", binary.AppendUvarint(nil, maxFrame+1)},
	{"2^63 bytes", binary.AppendUvarint(nil, 1<<63)},
	{"endless length", bytes.Repeat([]byte{0xff}, 16)},
}

func TestRefusedHellos(t *testing.T) {
	for _, row := range refusedHellos {
		t.Run(row.name, func(t *testing.T) {
			if h, err := readHello(bufio.NewReader(bytes.NewReader(row.bytes))); err == nil {
				t.Errorf("got %v, want an error", h)
			}
		})
	}
}

func TestLargestFrame(t *testing.T) {
	frame := appendFrame(nil, kindEnvelope, make([]byte, rendezvous.MaxEnvelope))
	if _, body, err := readFrame(bufio.NewReader(bytes.NewReader(frame))); err != nil || len(body) != rendezvous.MaxEnvelope {
		t.Errorf("got %d bytes and %v, want all", len(body), err)
	}
	frame = appendFrame(nil, kindEnvelope, make([]byte, rendezvous.MaxEnvelope+1))
	if _, _, err := readFrame(bufio.NewReader(bytes.NewReader(frame))); !errors.Is(err, ErrFrame) {
		t.Errorf("got %v for one byte more, want ErrFrame", err)
	}
}

// FuzzReadFrame reads frames until the input ends or is refused. What is read comes out the same when it is written again.
func FuzzReadFrame(f *testing.F) {
	f.Add(Hello{Name: "bob"}.frame())
	f.Add(append(appendFrame(nil, kindEnvelope, []byte("x")), appendFrame(nil, kindPing, make([]byte, 8))...))
	for _, row := range refusedHellos {
		f.Add(row.bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		for {
			kind, body, err := readFrame(r)
			if err != nil {
				return
			}
			if len(body) >= maxFrame {
				t.Fatalf("a body of %d bytes was read", len(body))
			}
			again, same, err := readFrame(bufio.NewReader(bytes.NewReader(appendFrame(nil, kind, body))))
			if err != nil || again != kind || !bytes.Equal(same, body) {
				t.Fatalf("frame of kind %d does not survive being written: %v", kind, err)
			}
			if h, err := parseHello(body); err == nil {
				if back, err := readHello(bufio.NewReader(bytes.NewReader(h.frame()))); err != nil || back != h {
					t.Fatalf("got %v and %v, want %v", back, err, h)
				}
			}
		}
	})
}
