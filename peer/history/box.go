package history

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

// box seals single values with AES-256-GCM under random nonces. The label that is authenticated with each names the table and the row,
// so that whoever can write the file cannot put one value in another's place.
type box struct{ aead cipher.AEAD }

func newBox(key []byte) (*box, error) {
	sub, err := hkdf.Key(sha256.New, key, nil, "byway/v1 history", 32)
	if err != nil {
		return nil, fmt.Errorf("derive history key: %w", err)
	}
	block, err := aes.NewCipher(sub)
	if err != nil {
		return nil, fmt.Errorf("derive history key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("derive history key: %w", err)
	}
	return &box{aead: aead}, nil
}

func (b *box) seal(label string, plain []byte) []byte {
	return b.aead.Seal(nil, nil, plain, []byte(label))
}

func (b *box) open(label string, sealed []byte) ([]byte, error) {
	plain, err := b.aead.Open(nil, nil, sealed, []byte(label))
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

func (b *box) sealJSON(label string, v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return b.seal(label, plain), nil
}

func (b *box) openJSON(label string, sealed []byte, v any) error {
	plain, err := b.open(label, sealed)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(plain, v); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// canary is the tag and the label of a value that only the right key opens.
const canary = "canary"

// checkKey proves at once that the file was made with our key: a home put together from two would otherwise fail message by message.
func (s *Store) checkKey(ctx context.Context) error {
	tag := s.tag(canary)
	var sealed []byte
	err := s.write.QueryRowContext(ctx, "SELECT sealed FROM contacts WHERE tag = ?", []byte(canary)).Scan(&sealed)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return classify("mark history", s.file.Update(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO contacts (tag, sealed) VALUES (?, ?)", []byte(canary), s.box.seal(canary, append(tag, rand.Text()...)))
			return err
		}))
	case err != nil:
		return classify("read history", err)
	}
	_, err = s.box.open(canary, sealed)
	return err
}
