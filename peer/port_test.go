package peer

import (
	"net"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/libp2p/go-libp2p/core/peer"
)

func TestOwnPort(t *testing.T) {
	id, err := peer.Decode("12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5")
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(int(portOfDevice(id)))
	listen := []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/4001", "nonsense"}
	want := []string{"/ip4/127.0.0.1/tcp/" + port, "/ip4/127.0.0.1/udp/" + port + "/quic-v1", "/ip4/127.0.0.1/tcp/4001", "nonsense"}
	if diff := cmp.Diff(want, ownPort(listen, id)); diff != "" {
		t.Error(diff)
	}
	if port != "22836" { // docs/protocol.md, frozen
		t.Errorf("the port is %s", port)
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	want[0] = listen[0]
	if diff := cmp.Diff(want, ownPort(listen, id)); diff != "" {
		t.Errorf("somebody listens there: %s", diff)
	}
}
