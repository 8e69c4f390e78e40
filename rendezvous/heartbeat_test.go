package rendezvous

import (
	"bytes"
	"encoding/hex"
	"math"
	"testing"

	"google.golang.org/protobuf/proto"
)

func TestHeartbeatIsWhatTheGeneratedCodeSays(t *testing.T) {
	for _, token := range []uint64{0, 1, 127, 128, 1 << 32, math.MaxUint64} {
		ping, err := proto.Marshal(&Frame{Body: &Frame_Ping{Ping: &Ping{Token: token}}})
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := ParsePing(ping); !ok || got != token {
			t.Errorf("ping %d: got %d, %v", token, got, ok)
		}
		want, err := AppendFrame([]byte("before"), &Frame{Body: &Frame_Pong{Pong: &Pong{Token: token}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendPong([]byte("before"), token); !bytes.Equal(got, want) {
			t.Errorf("pong %d: got %x, want %x", token, got, want)
		}
	}
}

func TestParsePingLeavesOthersAlone(t *testing.T) {
	tests := []struct{ name, frame string }{
		{"nothing", ""},
		{"no body", "9201"},
		{"with an id", "0805920100"},
		{"a pong", "9a0100"},
		{"a field that is not known", "9201021001"},
		{"a token twice", "92010408010802"},
		{"a token that is cut", "9201020880"},
		{"a body that is cut", "92010508"},
		{"two bodies", "920100920100"},
		{"something behind", "9201020801ff"},
	}
	for _, tc := range tests {
		frame, _ := hex.DecodeString(tc.frame)
		if token, ok := ParsePing(frame); ok {
			t.Errorf("%s: taken as a ping with token %d", tc.name, token)
		}
	}
}

func FuzzParsePing(f *testing.F) {
	f.Add([]byte{0x92, 0x01, 0x02, 0x08, 0x07})
	f.Add([]byte{0x92, 0x01, 0x03, 0x08, 0x80, 0x00})
	f.Fuzz(func(t *testing.T, frame []byte) {
		token, ok := ParsePing(frame)
		if !ok {
			return
		}
		parsed, err := ParseFrame(frame)
		if err != nil {
			t.Fatalf("%x is a ping by hand, and otherwise %v", frame, err)
		}
		if parsed.GetId() != 0 || parsed.GetPing() == nil || parsed.GetPing().GetToken() != token {
			t.Fatalf("%x is a ping with %d by hand, and otherwise %v", frame, token, parsed)
		}
	})
}
