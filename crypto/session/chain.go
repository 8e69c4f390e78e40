package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
)

// The labels of key derivation. They are HKDF info, not signed: no NUL ends them.
const (
	infoInit = "byway/v1 init"
	infoMsg  = "byway/v1 msg"
)

const (
	chainSize = 32
	keySize   = 32
	nonceSize = 12
)

// messageKey seals exactly one envelope.
type messageKey struct {
	key   [keySize]byte
	nonce [nonceSize]byte
}

// chainKey yields the next message key and its own successor; it must be overwritten by the successor.
type chainKey [chainSize]byte

// openChain derives the Init's message key and the chain for what follows: HKDF-SHA256 without salt, info
// "byway/v1 init" || SHA-256(header), cut 32 key, 12 nonce, 32 chain.
func openChain(secret [32]byte, header []byte) (messageKey, chainKey, error) {
	sum := sha256.Sum256(header)
	out, err := hkdf.Key(sha256.New, secret[:], nil, infoInit+string(sum[:]), keySize+nonceSize+chainSize)
	if err != nil {
		return messageKey{}, chainKey{}, err
	}
	defer clear(out)
	var key messageKey
	copy(key.key[:], out[:keySize])
	copy(key.nonce[:], out[keySize:])
	return key, chainKey(out[keySize+nonceSize:]), nil
}

// step derives the key of the chain's next message and the chain after it: HKDF-Expand-SHA256, info "byway/v1 msg", cut 32 chain,
// 32 key, 12 nonce.
func (c chainKey) step() (messageKey, chainKey, error) {
	out, err := hkdf.Expand(sha256.New, c[:], infoMsg, chainSize+keySize+nonceSize)
	if err != nil {
		return messageKey{}, chainKey{}, err
	}
	defer clear(out)
	var key messageKey
	copy(key.key[:], out[chainSize:])
	copy(key.nonce[:], out[chainSize+keySize:])
	return key, chainKey(out[:chainSize]), nil
}

func (k *messageKey) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal appends the ciphertext of plain to header, which is also the associated data.
func (k *messageKey) seal(header, plain []byte) ([]byte, error) {
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	return aead.Seal(header, k.nonce[:], plain, header), nil
}

func (k *messageKey) open(header, sealed []byte) ([]byte, error) {
	aead, err := k.aead()
	if err != nil {
		return nil, ErrOpen
	}
	plain, err := aead.Open(nil, k.nonce[:], sealed, header)
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}
