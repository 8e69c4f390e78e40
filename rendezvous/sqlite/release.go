package sqlite

import "context"

// Release gives back what the writing connection has cached of the file; the system has most of it as well, and what is used is read again. It
// waits for its turn between transactions. Those that read keep theirs.
func (db *DB) Release(ctx context.Context) error {
	_, err := db.write.ExecContext(ctx, "PRAGMA shrink_memory")
	return classify("release the cache", err)
}
