package peer

import (
	"time"

	"github.com/byway-chat/byway/peer/lan"
)

// Announced has a peer hear an announcement, as from the LAN.
func (p *Peer) Announced(a lan.Announcement) {
	p.core.post(func() { p.core.announced(time.Now(), a) })
}
