package delivery

import (
	"bytes"
	"encoding/binary"
)

// Punch is a step towards dialling each other at the same moment. What it says is for the owner of the engine.
type Punch struct {
	Step    byte // PunchOffer or PunchAnswer; others are of newer programs
	Token   [8]byte
	Trip    uint64   // round trip to the rendezvous, milliseconds
	Network []byte   // findings of its sender about its network (peer/route)
	Addrs   [][]byte // multiaddrs from which its sender is seen
}

// The steps of a punch.
const (
	PunchOffer  byte = 1
	PunchAnswer byte = 2
)

func (p *Punch) append(b []byte) []byte {
	b = append(append(b, p.Step), p.Token[:]...)
	b = binary.AppendUvarint(b, p.Trip)
	b = appendBytes(b, p.Network)
	b = binary.AppendUvarint(b, uint64(len(p.Addrs)))
	for _, a := range p.Addrs {
		b = appendBytes(b, a)
	}
	return b
}

func (r *reader) punch() *Punch {
	p := &Punch{Step: r.byte(), Token: [8]byte(r.take(8)), Trip: r.uvarint(), Network: bytes.Clone(r.bytes(maxNetwork))}
	for range r.count(MaxAddrs) {
		p.Addrs = append(p.Addrs, bytes.Clone(r.bytes(maxAddr)))
	}
	return p
}

// Punch sends a step of a punch by the relay, live. It reports false where that is not up.
func (e *Engine) Punch(name Account, d Device, p *Punch) bool {
	if !e.relayUp {
		return false
	}
	e.send(Send{To: name, Device: d, Via: WayRelay, LiveOnly: true, Payload: Payload{Kind: KindPunch, Punch: p}})
	return true
}
