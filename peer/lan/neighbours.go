package lan

import (
	"context"
	"log/slog"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Neighbours searches the LAN for peers and sends what they announce, other than self's own; else it is like [Browse].
func Neighbours(ctx context.Context, self peer.ID, logger *slog.Logger) (heard <-chan Announcement, stop func()) {
	return search(ctx, PeerService, logger, func(texts []string) []sighting[Announcement] {
		a, ok := parseAnnouncement(texts, OwnNetworks())
		if !ok || a.Tag.Of(self) {
			return nil
		}
		return []sighting[Announcement]{{key: string(a.Tag[:]), addrs: a.Addrs, what: a}}
	})
}
