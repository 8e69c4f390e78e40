package peer

import (
	"context"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/history"
)

// withGaps puts the gaps of a conversation, or of all for none, into their places among messages of the history. Whole says that no older messages
// were left out; else gaps before the first one were too.
func (p *Peer) withGaps(ctx context.Context, name delivery.Account, messages []history.Entry, out []HistoryEntry, whole bool) ([]HistoryEntry, error) {
	behind := int64(0)
	if !whole {
		behind = messages[0].Order
	}
	gaps, err := p.core.store.Gaps(ctx, behind)
	if err != nil {
		return nil, storeError(err)
	}
	if len(gaps) == 0 {
		return out, nil
	}
	from := map[delivery.Device]delivery.Account{}
	err = p.core.do(ctx, func() {
		for _, g := range gaps {
			if d := p.core.devices[g.Device]; d != nil {
				from[g.Device] = d.contact.Name
			}
		}
	})
	if err != nil {
		return nil, err
	}
	merged := make([]HistoryEntry, 0, len(out)+len(gaps))
	for i := 0; i <= len(out); i++ {
		for len(gaps) > 0 && (i == len(out) || gaps[0].After < messages[i].Order) {
			if g := gaps[0]; name == "" || from[g.Device] == name {
				merged = append(merged, HistoryEntry{Gap: &HistoryGap{
					From: string(from[g.Device]), Device: g.Device.Device(), First: g.First, Last: g.Last,
				}})
			}
			gaps = gaps[1:]
		}
		if i < len(out) {
			merged = append(merged, out[i])
		}
	}
	return merged, nil
}
