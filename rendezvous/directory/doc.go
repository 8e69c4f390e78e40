// Package directory knows which name belongs to whom: it registers accounts, enrols their devices, checks passwords, publishes signed
// entries and bundles, and admits those who come back. [Service] enforces the rules over a [Store]; it never holds a private key, and a
// password only while it is hashed.
//
// # What is promised
//
// An entry that is held was signed by one of its devices, for this rendezvous and this name, with a number one higher than the
// one before it, and a device joins only by an entry that keeps every earlier device. A key, a PeerID, a name and what a
// name looks like (its skeleton) belong to one account at most. An unknown name and a wrong password get the same answer after
// the same work. A device that is enrolled signs in without a password, so no number of wrong guesses keeps it out.
//
// All methods return an *rendezvous.Error for what the remote may be told; any other error is this rendezvous's own trouble.
package directory
