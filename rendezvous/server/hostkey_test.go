package server

import (
	"bytes"
	"os"
	"testing"
)

// TestFlippedHostKey flips every bit of the host key's file: it is the same key, or it is refused with a cure.
func TestFlippedHostKey(t *testing.T) {
	d, err := openData(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	want, err := d.hostKey()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(d.path(hostKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for bit := range len(whole) * 8 {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(d.path(hostKeyFile), b, 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := d.hostKey()
		if err != nil {
			checkSetup(t, err, "is damaged")
			refused++
		} else if !key.Equals(want) {
			t.Fatalf("bit %d: another key", bit)
		}
	}
	if refused < len(whole)*4 {
		t.Errorf("%d of %d flips were refused", refused, len(whole)*8)
	}
}
