package identity

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"sync"
)

// Sizes in bytes. They are exact: Byway has one RSA size and one exponent, and both encodings are DER.
const (
	// SignatureSize is the length of every signature.
	SignatureSize = rsaBits / 8
	// SPKISize is the length of an identity public key on the wire.
	SPKISize = 422
	// PKCS1Size is the length of the RSA half of an encryption public key on the wire.
	PKCS1Size = 398

	rsaBits     = 3072
	rsaExponent = 65537
	// smallFactor bounds the trial division: a modulus with a prime factor below it was made badly or with intent.
	smallFactor = 1 << 16
)

// ErrBadKey is in the chain of every refusal of a public key.
var ErrBadKey = errors.New("public key refused")

// checkRSA refuses a foreign key that Byway would not have made: another size, another exponent, an even modulus or one with a
// small factor. What looks random passes; a factor that is merely known to someone cannot be seen.
func checkRSA(k *rsa.PublicKey) error {
	switch {
	case k.N.BitLen() != rsaBits:
		return fmt.Errorf("modulus of %d bits: %w", k.N.BitLen(), ErrBadKey)
	case k.E != rsaExponent:
		return fmt.Errorf("exponent %d: %w", k.E, ErrBadKey)
	case k.N.Bit(0) == 0:
		return fmt.Errorf("even modulus: %w", ErrBadKey)
	}
	rest := new(big.Int).Rem(smallPrimes(), k.N)
	if rest.GCD(nil, nil, rest, k.N).Cmp(big.NewInt(1)) != 0 {
		return fmt.Errorf("modulus with a factor below %d: %w", smallFactor, ErrBadKey)
	}
	return nil
}

// smallPrimes is the product of all primes below smallFactor, about 94,000 bits: one division and one gcd by it cost less
// than 6,542 divisions.
var smallPrimes = sync.OnceValue(func() *big.Int {
	var composite [smallFactor]bool
	factors := make([]*big.Int, 0, 6542)
	for p := 2; p < smallFactor; p++ {
		if composite[p] {
			continue
		}
		factors = append(factors, big.NewInt(int64(p)))
		for multiple := p * p; multiple < smallFactor; multiple += p {
			composite[multiple] = true
		}
	}
	for len(factors) > 1 {
		half := factors[:0]
		for i := 0; i+1 < len(factors); i += 2 {
			half = append(half, new(big.Int).Mul(factors[i], factors[i+1]))
		}
		if len(factors)%2 == 1 {
			half = append(half, factors[len(factors)-1])
		}
		factors = half
	}
	return factors[0]
})
