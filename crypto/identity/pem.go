package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/mlkem"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// The blocks of a key file, in this order: one blockHeader, the identity key, the host key, then an RSA and an ML-KEM key for
// each encryption key, newest first, and one blockStorage. All keys are PKCS#8, so `openssl pkey` reads each of them
// (ML-KEM from OpenSSL 3.5 on).
const (
	blockHeader  = "BYWAY KEY FILE"
	blockKey     = "PRIVATE KEY"
	blockStorage = "BYWAY STORAGE KEY"

	keyFileVersion = 1
)

// mlkemPKCS8 is what stands before the 64-byte seed of an ML-KEM-768 key in PKCS#8 (RFC 9935, seed-only form); the library's
// x509 does not write it.
var mlkemPKCS8 = []byte{
	0x30, 0x54, 0x02, 0x01, 0x00,
	0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, 0x02,
	0x04, 0x42, 0x80, 0x40,
}

var errPEM = errors.New("not a byway key file")

// ExportPEM writes all private keys in the clear: the content of a key file. The caller owns the secrecy of the result.
func (k *Keyring) ExportPEM() ([]byte, error) {
	if n := len(k.Encryption); n == 0 || n > MaxEncryptionKeys {
		return nil, fmt.Errorf("export keyring: %d encryption keys, not 1 to %d", n, MaxEncryptionKeys)
	}
	header := []byte{keyFileVersion, byte(len(k.Encryption))}
	keys := []any{k.Identity.rsa, k.Host}
	for _, e := range k.Encryption {
		header = binary.BigEndian.AppendUint64(header, uint64(e.created.UnixMilli()))
		keys = append(keys, e.rsa, e.mlkem)
	}
	var out bytes.Buffer
	write := func(kind string, b []byte) { _ = pem.Encode(&out, &pem.Block{Type: kind, Bytes: b}) }
	write(blockHeader, header)
	for _, key := range keys {
		der, err := marshalPKCS8(key)
		if err != nil {
			return nil, fmt.Errorf("export keyring: %w", err)
		}
		write(blockKey, der)
	}
	write(blockStorage, k.Storage[:])
	return out.Bytes(), nil
}

func marshalPKCS8(key any) ([]byte, error) {
	if dk, ok := key.(*mlkem.DecapsulationKey768); ok {
		return append(bytes.Clone(mlkemPKCS8), dk.Bytes()...), nil
	}
	return x509.MarshalPKCS8PrivateKey(key)
}

// ImportPEM reads what [Keyring.ExportPEM] wrote. Its error wraps [ErrDamaged]. It costs some milliseconds a key, because the
// library checks that the RSA keys are whole.
func ImportPEM(text []byte) (*Keyring, error) {
	k, err := parsePEM(text)
	if err != nil {
		return nil, fmt.Errorf("read keyring: %w: %w", ErrDamaged, err)
	}
	return k, nil
}

func parsePEM(text []byte) (*Keyring, error) {
	next := blockReader(text)
	header, err := next(blockHeader)
	if err != nil {
		return nil, err
	}
	created, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	k := new(Keyring)
	signing, err := readRSA(next)
	if err != nil {
		return nil, err
	}
	if k.Identity, err = newPrivateKey(signing); err != nil {
		return nil, err
	}
	if k.Host, err = readHost(next); err != nil {
		return nil, err
	}
	for _, at := range created {
		key, err := readEncryption(next, at)
		if err != nil {
			return nil, err
		}
		k.Encryption = append(k.Encryption, key)
	}
	storage, err := next(blockStorage)
	if err != nil {
		return nil, err
	}
	if copy(k.Storage[:], storage) != len(k.Storage) || len(storage) != len(k.Storage) {
		return nil, errPEM
	}
	_, err = next("")
	return k, err
}

// blockReader returns the content of one block after the other; each must be of the kind asked. The kind "" asks that
// nothing follows.
func blockReader(text []byte) func(kind string) ([]byte, error) {
	return func(kind string) ([]byte, error) {
		block, rest := pem.Decode(text)
		switch {
		case block == nil && kind == "" && len(bytes.TrimSpace(rest)) == 0:
			return nil, nil
		case block == nil || block.Type != kind || len(block.Headers) != 0:
			return nil, errPEM
		}
		text = rest
		return block.Bytes, nil
	}
}

// parseHeader returns when each encryption key was made: version(1) count(1) count × Unix milliseconds(8).
func parseHeader(b []byte) ([]time.Time, error) {
	if len(b) < 2 || b[0] != keyFileVersion || b[1] == 0 || b[1] > MaxEncryptionKeys || len(b) != 2+8*int(b[1]) {
		return nil, errPEM
	}
	var created []time.Time
	for b = b[2:]; len(b) > 0; b = b[8:] {
		created = append(created, time.UnixMilli(int64(binary.BigEndian.Uint64(b))))
	}
	return created, nil
}

func readRSA(next func(string) ([]byte, error)) (*rsa.PrivateKey, error) {
	der, err := next(blockKey)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errPEM
	}
	return key, checkRSA(&key.PublicKey)
}

func readHost(next func(string) ([]byte, error)) (ed25519.PrivateKey, error) {
	der, err := next(blockKey)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errPEM
	}
	return key, nil
}

func readEncryption(next func(string) ([]byte, error), created time.Time) (*EncryptionPrivateKey, error) {
	key, err := readRSA(next)
	if err != nil {
		return nil, err
	}
	der, err := next(blockKey)
	if err != nil {
		return nil, err
	}
	seed, ok := bytes.CutPrefix(der, mlkemPKCS8)
	if !ok {
		return nil, errPEM
	}
	dk, err := mlkem.NewDecapsulationKey768(seed)
	if err != nil {
		return nil, err
	}
	return newEncryptionPrivateKey(key, dk, created), nil
}
