package rendezvous

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"
)

// What the hand-written frames are made of.

// fields calls f for each field of a message: with v for a number, with b for bytes. It reports false when the message does not parse
// or f reports false, which it does for a field that it does not know.
func fields(message []byte, f func(number protowire.Number, wire protowire.Type, v uint64, b []byte) bool) bool {
	for len(message) > 0 {
		number, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return false
		}
		message = message[n:]
		var v uint64
		var b []byte
		switch wire {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(message)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(message)
		default:
			return false
		}
		if n < 0 || !f(number, wire, v, b) {
			return false
		}
		message = message[n:]
	}
	return true
}

// appendFrameHead appends all of a frame that comes before a body of the given size.
func appendFrameHead(buf []byte, id uint64, kind Kind, size int) []byte {
	tag := protowire.EncodeTag(protowire.Number(kind), protowire.BytesType)
	frame := sizeNumber(id) + protowire.SizeVarint(tag) + protowire.SizeVarint(uint64(size)) + size
	buf = binary.AppendUvarint(buf, uint64(frame))
	buf = appendNumber(buf, 1, id)
	buf = binary.AppendUvarint(buf, tag)
	return binary.AppendUvarint(buf, uint64(size))
}

// The fields of proto3: what is zero or empty is not written. All numbers of fields here are below 16, so a tag is one byte.

func sizeNumber(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(v)
}

func sizeBytes[T ~[]byte | ~string](v T) int {
	if len(v) == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(len(v))
}

func appendNumber(buf []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return buf
	}
	return binary.AppendUvarint(append(buf, byte(number)<<3|byte(protowire.VarintType)), v)
}

func appendBytes[T ~[]byte | ~string](buf []byte, number protowire.Number, v T) []byte {
	if len(v) == 0 {
		return buf
	}
	buf = binary.AppendUvarint(append(buf, byte(number)<<3|byte(protowire.BytesType)), uint64(len(v)))
	return append(buf, v...)
}

func sizeRuns(ids []uint64) int {
	size := 0
	for len(ids) > 0 {
		n := run(ids)
		size += 2 + sizeNumber(ids[0]) + sizeNumber(uint64(n-1)) // a Run is shorter than 128 bytes
		ids = ids[n:]
	}
	return size
}

func appendRuns(buf []byte, number protowire.Number, ids []uint64) []byte {
	for len(ids) > 0 {
		n := run(ids)
		buf = append(buf, byte(number)<<3|byte(protowire.BytesType), byte(sizeNumber(ids[0])+sizeNumber(uint64(n-1))))
		buf = appendNumber(buf, 1, ids[0])
		buf = appendNumber(buf, 2, uint64(n-1))
		ids = ids[n:]
	}
	return buf
}
