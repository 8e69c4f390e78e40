package server

import (
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/byway-chat/byway/rendezvous"
)

// observedTimeout bounds the answer to a peer that asks from where it is seen.
const observedTimeout = 5 * time.Second

// observed tells a peer from where the stream's connection comes. One without a control stream has no business here.
func (s *Server) observed(stream network.Stream) {
	if !s.conns.present(stream.Conn().RemotePeer()) {
		_ = stream.Reset()
		return
	}
	_ = stream.SetDeadline(time.Now().Add(observedTimeout)) // where there are no deadlines, the connection ends the write
	if _, err := stream.Write(rendezvous.AppendObserved(nil, stream.Conn().RemoteMultiaddr())); err != nil {
		_ = stream.Reset()
		return
	}
	_ = stream.Close()
}
