package history

import (
	"context"

	"github.com/byway-chat/byway/peer/delivery"
)

// maxGaps is how many gaps one question is answered with, the newest kept.
const maxGaps = 10_000

// Gap is a run of a device's numbers that never came.
type Gap struct {
	Device      delivery.Device
	First, Last uint64
	After       int64 // Order of the message before it; 0: none
}

// Gaps returns the gaps that stand behind a place of the history, in the order of their places.
func (s *Store) Gaps(ctx context.Context, behind int64) ([]Gap, error) {
	rows, err := s.read.QueryContext(ctx, `SELECT device, first, last, after FROM
		(SELECT * FROM gaps WHERE after >= ? ORDER BY after DESC, device DESC, first DESC LIMIT ?) ORDER BY after, device, first`, behind, maxGaps)
	if err != nil {
		return nil, classify("read gaps", err)
	}
	defer rows.Close()
	var out []Gap
	for rows.Next() {
		var g Gap
		var device []byte
		if err := rows.Scan(&device, &g.First, &g.Last, &g.After); err != nil {
			return nil, classify("read gaps", err)
		}
		copy(g.Device[:], device)
		out = append(out, g)
	}
	return out, classify("read gaps", rows.Err())
}
