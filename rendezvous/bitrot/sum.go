// Package bitrot tells whether a block on a disk is what was written, and turns a single flipped bit back.
package bitrot

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// Sum is what is remembered of a block: CRC-32C in the low half, CRC-32 (IEEE) in the high one. Each alone finds every error of up to
// three bits in a page; together they tell which bit it was, and that it was that bit and nothing else. Processors compute both.
type Sum uint64

// Size is the length of a sum in a file, in bytes, little-endian.
const Size = 8

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	ieee       = crc32.IEEETable
)

// Of returns the sum of a block.
func Of(block []byte) Sum {
	return Sum(crc32.Checksum(block, castagnoli)) | Sum(crc32.ChecksumIEEE(block))<<32
}

// Append appends a sum as it stands in a file.
func Append(b []byte, s Sum) []byte { return binary.LittleEndian.AppendUint64(b, uint64(s)) }

// Read reads what Append wrote; b has at least [Size] bytes.
func Read(b []byte) Sum { return Sum(binary.LittleEndian.Uint64(b)) }

// Finding is what a look at a block gave.
type Finding int

// The findings, the worst last.
const (
	Healthy  Finding = iota
	SumWrong         // the block is what it was; one bit of its sum was flipped
	Mended           // one bit of the block was flipped, and has been turned back
	Lost             // more is wrong than one bit
)

// Mend compares block with its sum, and turns a single flipped bit back. A block that it leaves alone it has not changed.
func Mend(block []byte, want Sum) Finding {
	wrong := Of(block) ^ want
	if wrong == 0 {
		return Healthy
	}
	if bits.OnesCount64(uint64(wrong)) == 1 {
		return SumWrong
	}
	// A CRC is linear: which bit was flipped decides alone by what the sum is off. Walk over all bits, from the last byte on.
	for bit := range 8 {
		low, high := castagnoli[1<<bit], ieee[1<<bit]
		for i := len(block) - 1; i >= 0; i-- {
			if Sum(low)|Sum(high)<<32 == wrong {
				block[i] ^= 1 << bit
				return Mended
			}
			low = castagnoli[low&0xff] ^ low>>8
			high = ieee[high&0xff] ^ high>>8
		}
	}
	return Lost
}
