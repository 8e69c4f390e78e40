package history

import (
	"context"
	"database/sql"

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
	var out []Gap
	err := s.view(ctx, func(q querier) error {
		out = nil
		return each(ctx, q, `SELECT device, first, last, after FROM
			(SELECT * FROM gaps WHERE after >= ? ORDER BY after DESC, device DESC, first DESC LIMIT ?) ORDER BY after, device, first`, func(rows *sql.Rows) error {
			var g Gap
			var device []byte
			if err := rows.Scan(&device, &g.First, &g.Last, &g.After); err != nil {
				return err
			}
			copy(g.Device[:], device)
			out = append(out, g)
			return nil
		}, behind, maxGaps)
	})
	return out, classify("read gaps", err)
}
