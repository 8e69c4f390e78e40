package sqlitefile

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// sum is what is remembered of a block: CRC-32C in the low half, CRC-32 (IEEE) in the high one. Each alone finds every error of up to
// three bits in a page; together they tell which bit it was, and that it was that bit and nothing else. Processors compute both.
type sum uint64

// sumSize is the length of a sum in a file, in bytes, little-endian.
const sumSize = 8

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	ieee       = crc32.IEEETable
)

func sumOf(block []byte) sum {
	return sum(crc32.Checksum(block, castagnoli)) | sum(crc32.ChecksumIEEE(block))<<32
}

func appendSum(b []byte, s sum) []byte { return binary.LittleEndian.AppendUint64(b, uint64(s)) }
func readSum(b []byte) sum             { return sum(binary.LittleEndian.Uint64(b)) }

// finding is what a look at a block gave.
type finding int

const (
	healthy  finding = iota
	sumWrong         // the block is what it was; one bit of its sum was flipped
	mended           // one bit of the block was flipped, and has been turned back
	lost             // more is wrong than one bit
)

// mend compares block with its sum, and turns a single flipped bit back. A block that it leaves alone it has not changed.
func mend(block []byte, want sum) finding {
	wrong := sumOf(block) ^ want
	if wrong == 0 {
		return healthy
	}
	if bits.OnesCount64(uint64(wrong)) == 1 {
		return sumWrong
	}
	// A CRC is linear: which bit was flipped decides alone by what the sum is off. Walk over all bits, from the last byte on.
	for bit := range 8 {
		low, high := castagnoli[1<<bit], ieee[1<<bit]
		for i := len(block) - 1; i >= 0; i-- {
			if sum(low)|sum(high)<<32 == wrong {
				block[i] ^= 1 << bit
				return mended
			}
			low = castagnoli[low&0xff] ^ low>>8
			high = ieee[high&0xff] ^ high>>8
		}
	}
	return lost
}
