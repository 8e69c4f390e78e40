package delivery

import "encoding/binary"

// Terms is what a device says of its owner's policy for the account that it writes to. It is for the owner of the engine, which says by
// [Engine.Relayed] and the ways that it opens what follows.
type Terms struct {
	Policy byte
	Set    uint64 // rises with each change; 0: it was never other than the one that is taken for granted
	Heard  uint64 // Set of the newest Terms of the recipient that its sender has; 0: it has none
}

func (t *Terms) append(b []byte) []byte {
	b = binary.AppendUvarint(append(b, t.Policy), t.Set)
	return binary.AppendUvarint(b, t.Heard)
}

func (r *reader) terms() *Terms {
	t := &Terms{Policy: r.byte(), Set: r.uvarint(), Heard: r.uvarint()}
	r.bad = r.bad || t.Set >= 1<<62 || t.Heard >= 1<<62
	return t
}

// Terms tells a device our policy: by the relay, live, where that is up, else over the direct way. It reports false where neither is open.
func (e *Engine) Terms(name Account, d Device, t Terms) bool {
	via := WayRelay
	if !e.relayUp {
		via = e.remote(name, d).direct
	}
	if via == "" {
		return false
	}
	e.send(Send{To: name, Device: d, Via: via, LiveOnly: true, Payload: Payload{Kind: KindTerms, Terms: &t}})
	return true
}
