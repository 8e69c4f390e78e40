package rendezvous

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

func TestObservedGolden(t *testing.T) {
	for _, tt := range []struct{ addr, hex string }{
		{"/ip4/45.0.0.2/tcp/29929", "08" + "042d000002" + "0674e9"},
		{"/ip4/45.0.0.2/udp/4001/quic-v1", "0b" + "042d000002" + "91020fa1" + "cd03"},
	} {
		b := AppendObserved(nil, ma.StringCast(tt.addr))
		if got := hex.EncodeToString(b); got != tt.hex {
			t.Errorf("%s: %s, want %s", tt.addr, got, tt.hex)
		}
		a, err := ReadObserved(bytes.NewReader(b))
		if err != nil || a.String() != tt.addr {
			t.Errorf("%s comes back as %v, %v", tt.addr, a, err)
		}
	}
}

func TestReadObservedRefuses(t *testing.T) {
	circuit := ma.StringCast("/ip4/45.0.0.2/tcp/1/p2p-circuit")
	for name, b := range map[string][]byte{
		"nothing":   nil,
		"empty":     {0},
		"too long":  append([]byte{65}, make([]byte, 65)...),
		"cut":       AppendObserved(nil, circuit)[:5],
		"no socket": AppendObserved(nil, ma.StringCast("/ip4/45.0.0.2")),
		"a circuit": AppendObserved(nil, circuit),
		"no addr":   {2, 0xff, 0xff},
	} {
		if a, err := ReadObserved(bytes.NewReader(b)); err == nil {
			t.Errorf("%s: %v", name, a)
		}
	}
	if _, err := ReadObserved(bytes.NewReader([]byte{0})); !errors.Is(err, ErrObserved) {
		t.Errorf("empty: %v", err)
	}
}

func FuzzReadObserved(f *testing.F) {
	f.Add(AppendObserved(nil, ma.StringCast("/ip4/45.0.0.2/udp/4001/quic-v1")))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ReadObserved(bytes.NewReader(b))
		if err != nil {
			return
		}
		if again, err := ReadObserved(bytes.NewReader(AppendObserved(nil, a))); err != nil || !again.Equal(a) {
			t.Fatalf("%v comes back as %v, %v", a, again, err)
		}
	})
}
