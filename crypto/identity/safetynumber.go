package identity

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// safetyRounds makes a search for keys with a given number 5,200 times dearer; one half costs 2 to 4 ms.
const safetyRounds = 5200

// Party is one side of a safety number: a canonical user name and the fingerprints of all its devices, in any order.
type Party struct {
	Name string
	Keys []Fingerprint
}

// SafetyNumber is what two people compare to know that nobody stands between them: 60 digits in twelve groups of five, the same
// whoever is a and whoever is b. It changes when a name or any device of either does.
func SafetyNumber(a, b Party) string {
	halves := []string{safetyHalf(a), safetyHalf(b)}
	slices.Sort(halves)
	return halves[0] + " " + halves[1]
}

// safetyHalf turns the first 30 bytes of an iterated SHA-512 into six groups of five digits.
func safetyHalf(p Party) string {
	keys := slices.Clone(p.Keys)
	slices.SortFunc(keys, func(x, y Fingerprint) int { return bytes.Compare(x[:], y[:]) })
	input := []byte("byway/v1 safety number\x00")
	input = binary.BigEndian.AppendUint32(input, uint32(len(p.Name)))
	input = append(input, p.Name...)
	for _, key := range keys {
		input = binary.BigEndian.AppendUint32(input, uint32(len(key)))
		input = append(input, key[:]...)
	}
	first := sha512.Sum512(input)
	sum := first
	for range safetyRounds - 1 {
		sum = sha512.Sum512(append(sum[:], first[:]...))
	}
	groups := make([]string, 6)
	for i := range groups {
		var v uint64
		for _, b := range sum[5*i : 5*i+5] {
			v = v<<8 | uint64(b)
		}
		groups[i] = fmt.Sprintf("%05d", v%100000)
	}
	return strings.Join(groups, " ")
}
