package main

import (
	"testing"

	"github.com/byway-chat/byway/peer"
)

// TestListenAddress: a peer listens over TCP and QUIC at addresses of this machine, and on nothing else.
func TestListenAddress(t *testing.T) {
	for address, right := range map[string]bool{
		"/ip4/0.0.0.0/tcp/0":                  true,
		"/ip4/127.0.0.1/udp/4001/quic-v1":     true,
		"/ip6/::/tcp/4001":                    true,
		"/ip6/::1/udp/0/quic-v1":              true,
		"/ip6zone/eth0/ip6/fe80::1/tcp/1":     true,
		"":                                    false,
		"/":                                   false,
		"/ip4/127.0.0.1":                      false,
		"/ip6zone/eth0":                       false,
		"/ip4/127.0.0.1/udp/1":                false,
		"/ip4/127.0.0.1/tcp/1/ws":             false,
		"/ip4/127.0.0.1/udp/1/quic-v1/webrtc": false,
		"/dns4/localhost/tcp/1":               false,
		"/tcp/1":                              false,
		"127.0.0.1:1":                         false,
	} {
		if err := checkListen(address); (err == nil) != right || err != nil && peer.CodeOf(err) != peer.CodeUsage {
			t.Errorf("%q: got %v", address, err)
		}
	}
}
