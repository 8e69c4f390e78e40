package history

import (
	"context"

	"github.com/byway-chat/byway/peer/delivery"
)

// maxHas is how many of the latest messages of a device are known by their ids.
const maxHas = 1 << 16

// Has reports whether a message with that id is among the latest 65,536 of a device. The first question reads them all; it is asked only
// after a device has given numbers twice.
func (s *Store) Has(ctx context.Context, d delivery.Device, id delivery.MessageID) (bool, error) {
	if err := s.settle(ctx); err != nil {
		return false, classify("look an id up", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil || s.idsOf != d {
		ids := map[delivery.MessageID]struct{}{}
		rows, err := s.write.QueryContext(ctx, columns+"WHERE device = ? AND ord > 0 ORDER BY ord DESC", d[:])
		if err != nil {
			return false, classify("look an id up", err)
		}
		defer rows.Close()
		for rows.Next() && len(ids) < maxHas {
			r, err := s.scan(rows)
			if err != nil {
				return false, classify("look an id up", err)
			}
			for i := range r.msgs {
				ids[r.msgs[i].id] = struct{}{}
			}
		}
		if err := rows.Err(); err != nil {
			return false, classify("look an id up", err)
		}
		s.ids, s.idsOf = ids, d
	}
	_, ok := s.ids[id]
	return ok, nil
}
