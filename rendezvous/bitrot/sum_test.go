package bitrot

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestMend turns back every single bit of a block, and leaves alone what has two wrong.
func TestMend(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{56, 504, 4096} {
		block := make([]byte, size)
		for i := range block {
			block[i] = byte(random.Int())
		}
		want := Of(block)
		for bit := range size * 8 {
			if size == 4096 && bit%37 != 0 {
				continue
			}
			b := bytes.Clone(block)
			b[bit/8] ^= 1 << (bit % 8)
			if found := Mend(b, want); found != Mended || !bytes.Equal(b, block) {
				t.Fatalf("bit %d of %d: got %v", bit, size, found)
			}
			other := (bit + 1 + random.IntN(size*8-1)) % (size * 8)
			b[bit/8] ^= 1 << (bit % 8)
			b[other/8] ^= 1 << (other % 8)
			two := bytes.Clone(b)
			if found := Mend(b, want); found != Lost || !bytes.Equal(b, two) {
				t.Fatalf("bits %d and %d of %d: got %v", bit, other, size, found)
			}
		}
		for bit := range 64 {
			if found := Mend(block, want^1<<bit); found != SumWrong {
				t.Fatalf("bit %d of the sum: got %v", bit, found)
			}
		}
	}
}
