// Package identity holds the keys of a device and what is derived from them: fingerprints, safety numbers and the sealed key
// file. Start with [GenerateKeyring] and [CreateKeyFile]; later runs use [OpenKeyFile]. Foreign keys enter only through
// [ParsePublicKey] and [ParseEncryptionPublicKey], which refuse everything that Byway never makes.
//
// Each key has one job. The identity key (RSA-3072) only signs, with RSASSA-PSS; the encryption key (RSA-3072 and
// ML-KEM-768) only receives session secrets, the RSA half with RSAES-OAEP; the host key (Ed25519) is the libp2p PeerID; the storage key
// seals what the device keeps on disk. Signatures carry a domain string, so that one made for one purpose means nothing in
// another.
//
// The package promises: no RSA encryption by PKCS#1 v1.5; no private key that prints itself or marshals by
// accident; one behaviour for every ciphertext that does not open. Byte layouts are in docs/protocol.md. Nothing here logs.
package identity
