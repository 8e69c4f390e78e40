package password

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Params is the cost of one hash.
type Params struct {
	MemoryKiB uint32 // memory of one run in KiB; what makes guessing dear
	Time      uint32 // passes over that memory
	Threads   uint8  // lanes: the run is that many times shorter where cores are idle, and costs the same CPU
}

// The two profiles.
var (
	// Default takes 136 ms of CPU and 64 MiB.
	Default = Params{MemoryKiB: 64 << 10, Time: 3, Threads: 4}
	// Small is for boards with little memory: 24 ms of CPU and 19 MiB.
	Small = Params{MemoryKiB: 19 << 10, Time: 2, Threads: 1}
)

// Bounds of what is accepted, in a configuration and in a record: the dearest hash takes some seconds and 1 GiB.
const (
	maxMemoryKiB = 1 << 20
	maxTime      = 64
	maxThreads   = 64
	maxRecord    = 256 // bytes of a PHC string

	saltSize = 16
	tagSize  = 32
)

// ErrBadRecord is in the chain of every refusal of a PHC string.
var ErrBadRecord = errors.New("not a password record")

// ErrBadParams is returned for a cost outside the bounds.
var ErrBadParams = errors.New("password hashing cost out of range")

func (p Params) check() error {
	if p.Time < 1 || p.Time > maxTime || p.Threads < 1 || p.Threads > maxThreads ||
		p.MemoryKiB < 8*uint32(p.Threads) || p.MemoryKiB > maxMemoryKiB {
		return fmt.Errorf("%s: %w", p, ErrBadParams)
	}
	return nil
}

// String returns "m=65536,t=3,p=4", the form inside a record.
func (p Params) String() string {
	return fmt.Sprintf("m=%d,t=%d,p=%d", p.MemoryKiB, p.Time, p.Threads)
}

// record is a parsed PHC string: $argon2id$v=19$m=M,t=T,p=P$salt$tag, base64 without padding.
type record struct {
	params Params
	salt   []byte
	tag    []byte
}

const phcPrefix = "$argon2id$v=19$"

func (r record) String() string {
	b64 := base64.RawStdEncoding
	return phcPrefix + r.params.String() + "$" + b64.EncodeToString(r.salt) + "$" + b64.EncodeToString(r.tag)
}

func parseRecord(phc string) (record, error) {
	var r record
	if len(phc) > maxRecord {
		return r, fmt.Errorf("record of %d bytes: %w", len(phc), ErrBadRecord)
	}
	rest, ok := strings.CutPrefix(phc, phcPrefix)
	parts := strings.Split(rest, "$")
	if !ok || len(parts) != 3 {
		return r, ErrBadRecord
	}
	var err error
	if r.params, err = parseParams(parts[0]); err != nil {
		return r, err
	}
	b64 := base64.RawStdEncoding.Strict()
	if r.salt, err = b64.DecodeString(parts[1]); err != nil || len(r.salt) != saltSize {
		return r, ErrBadRecord
	}
	if r.tag, err = b64.DecodeString(parts[2]); err != nil || len(r.tag) != tagSize {
		return r, ErrBadRecord
	}
	// Line breaks, which base64 skips, and leading zeros fall here.
	if r.String() != phc {
		return r, ErrBadRecord
	}
	return r, nil
}

func parseParams(s string) (Params, error) {
	fields := strings.Split(s, ",")
	if len(fields) != 3 {
		return Params{}, ErrBadRecord
	}
	var values [3]uint64
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(fields[i], name)
		v, err := strconv.ParseUint(digits, 10, 32)
		if !ok || err != nil || i == 2 && v > maxThreads {
			return Params{}, ErrBadRecord
		}
		values[i] = v
	}
	p := Params{MemoryKiB: uint32(values[0]), Time: uint32(values[1]), Threads: uint8(values[2])}
	if err := p.check(); err != nil {
		return Params{}, fmt.Errorf("%w: %w", ErrBadRecord, err)
	}
	return p, nil
}

// Describe returns what an operator may see of a record: "argon2id m=65536,t=3,p=4", and "unreadable" for what is not one.
func Describe(phc string) string {
	r, err := parseRecord(phc)
	if err != nil {
		return "unreadable"
	}
	return "argon2id " + r.params.String()
}
