// Package natlab is the laboratory of networks: it builds, in namespaces of its own, the networks that people sit behind (one LAN, routers that
// translate addresses in the one manner or the other or map ports, firewalls, IPv6 on one side only), runs a rendezvous and two peers in each, and compares the
// way that they find to each other with the one that they must find, and the reason that they give with the true one.
//
// It also cuts direct ways while messages pass, and measures how soon the relay carries them and how soon the way is used again.
//
// It also hears, by a packet socket in each of the machines, with whom they exchange packets while a policy forbids one of them: policy_linux_test.go.
//
// `make lab` runs it and prints both tables; it needs root; `make check` runs a shorter form. The internet of the laboratory is 45.0.0.0/24 and 2a45::/64, which look
// public to the programs, and has no way out. What the kernel or the machine does not allow is skipped in words.
package natlab
