package identity

import (
	"errors"
	"fmt"
	"log/slog"
)

// ErrSecret is returned by every attempt to marshal a private key. Explicit export is [Keyring.ExportPEM].
var ErrSecret = errors.New("a secret does not marshal")

const redacted = "[secret]"

// unprintable, embedded in a secret, keeps fmt, slog, JSON, text, gob and == away from it.
type unprintable struct{ _ [0]func() }

// Format writes the same redaction for every verb, %#v and %x included.
func (unprintable) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue is what slog writes.
func (unprintable) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON always fails with [ErrSecret].
func (unprintable) MarshalJSON() ([]byte, error) { return nil, ErrSecret }

// MarshalText always fails with [ErrSecret].
func (unprintable) MarshalText() ([]byte, error) { return nil, ErrSecret }

// GobEncode always fails with [ErrSecret].
func (unprintable) GobEncode() ([]byte, error) { return nil, ErrSecret }

// Format writes the same redaction for every verb.
func (StorageKey) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue is what slog writes.
func (StorageKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText always fails with [ErrSecret].
func (StorageKey) MarshalText() ([]byte, error) { return nil, ErrSecret }
