// Package session is Byway's one encrypted format. Use [Begin] to open a one-way session to a device and seal its first payload in
// the same envelope, [Sender.Seal] for what follows, [Accept] and [Receiver.Open] at the other end. [Peek] tells what an
// envelope is without touching a key.
//
// An Init wraps a fresh secret to the recipient's current encryption key (RSA-OAEP and ML-KEM-768), and carries,
// inside the authenticated encryption, who sends it and a signature (RSA-PSS) that names both parties. Every further
// message is a Msg under a key of its own, from a hash ratchet that forgets. Payloads are padded, so lengths show in
// buckets only.
//
// The package is pure: no network, no log, no clock, and no goroutine. It promises that no key and nonce are used twice as long as
// a [Sender] lives in memory alone (it has no marshalled form), that state changes only when an envelope opened, and that every
// cryptographic failure is the one [ErrOpen]. When to begin anew, and which Inits are too old or seen before, is for
// the caller: see the chapter "Sessions" of docs/protocol.md, which also has the byte layouts.
package session
