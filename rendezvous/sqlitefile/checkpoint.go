package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/byway-chat/byway/rendezvous/bitrot"
)

// tail follows the log as it grows, proves each frame, and gathers the sums of the pages in it that the file of sums does not know yet.
type tail struct {
	f       *os.File // nil until there is a log
	header  logHeader
	next    int                   // frame to be read
	sum     chain                 // of the frame before it
	changed map[uint32]bitrot.Sum // since the sums were settled
}

// read goes on up to and with frame n. An error that wraps ErrDamaged says that the log is not what was written.
func (t *tail) read(path string, n int) error {
	if t.f == nil {
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("open the log: %w", err)
		}
		t.f = f
	}
	head := make([]byte, logHeaderSize)
	if _, err := t.f.ReadAt(head, 0); err != nil {
		if errors.Is(err, io.EOF) && n == 0 {
			return nil
		}
		return fmt.Errorf("read the head of the log: %w", err)
	}
	header, ok := parseLogHeader(head)
	if !ok {
		return fmt.Errorf("read the head of the log: %w", ErrDamaged)
	}
	if header != t.header { // a new life
		t.header, t.next, t.sum = header, 0, header.sum
	}
	if t.changed == nil {
		t.changed = map[uint32]bitrot.Sum{}
	}
	b := make([]byte, frameHeaderSize+header.pageSize)
	for ; t.next < n; t.next++ {
		if err := readFrame(t.f, t.next, b); errors.Is(err, errLogEnd) {
			return fmt.Errorf("read frame %d of the log: %w: %w", t.next+1, ErrDamaged, err)
		} else if err != nil {
			return err
		}
		fr, ok := header.check(t.sum, b)
		if !ok {
			return fmt.Errorf("read frame %d of the log: %w", t.next+1, ErrDamaged)
		}
		t.sum = fr.sum
		t.changed[fr.page] = bitrot.Of(b[frameHeaderSize:])
	}
	return nil
}

func (t *tail) close() error {
	if t.f == nil {
		return nil
	}
	return t.f.Close()
}

// Checkpoint copies the log back into the main file, as far as no reader needs it, and settles the sums. It waits for the connection that
// writes. Update makes checkpoints happen in the background; whoever waits for one here is sure that it was tried.
func (f *File) Checkpoint(ctx context.Context) error {
	conn, err := f.write.Conn(ctx)
	if err != nil {
		return Classify("copy the log back", err)
	}
	defer func() { _ = conn.Close() }() // it only goes back to the pool
	_, err = f.checkpoint(ctx, conn)
	return err
}

// checkpoint copies back and settles with the connection that writes in hand: nobody can write over the log meanwhile. whole is false while a
// reader needs a part of the log; then it can be written over by nobody.
func (f *File) checkpoint(ctx context.Context, conn *sql.Conn) (whole bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, err := f.catchUp()
	if err != nil {
		return false, err
	}
	f.step("the log was read")
	whole, err = f.copyBack(ctx, conn, "PASSIVE")
	if err == nil && !whole && int(m.frames)/4 >= f.opts.Checkpoint {
		whole, err = f.copyPatiently(ctx, conn)
	}
	if err != nil || !whole {
		return false, err
	}
	f.step("the log was copied back")
	done := copied{salt: m.salt, frames: int(m.frames), pages: m.pages}
	f.markMu.Lock()
	settled := f.settled
	f.markMu.Unlock()
	if m.frames == 0 || settled == done { // nothing has been written in this life of the log, or since the last time
		return true, nil
	}
	if err := f.sums.settle(done, f.tail.changed); err != nil {
		return false, Classify("copy the log back", err)
	}
	clear(f.tail.changed)
	f.markMu.Lock()
	f.generation, f.settled = f.sums.header.generation, done
	f.markMu.Unlock()
	f.step("the sums were settled")
	return true, nil
}

// catchUp reads the log as far as it has been fsynced. f.mu is held.
func (f *File) catchUp() (mark, error) {
	f.markMu.Lock()
	m, _, ok := f.reached()
	f.markMu.Unlock()
	if !ok {
		return m, errors.New("read the index of the log")
	}
	if m.frames == 0 && m.salt == (salt{}) { // there is no log yet
		return m, nil
	}
	if err := f.tail.read(f.path+logSuffix, int(m.frames)); err != nil {
		if errors.Is(err, ErrDamaged) {
			f.suspect(err)
		}
		return m, err
	}
	return m, nil
}

// copyPatiently waits for those who still read what is older, at most a tenth of a second: a log that somebody always reads would grow for ever.
func (f *File) copyPatiently(ctx context.Context, conn *sql.Conn) (whole bool, err error) {
	if _, err := conn.ExecContext(ctx, "PRAGMA busy_timeout = 100"); err != nil {
		return false, err
	}
	whole, err = f.copyBack(ctx, conn, "FULL")
	_, err2 := conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA busy_timeout = 5000")
	return whole, errors.Join(err, err2)
}

// copyBack runs SQLite's own checkpoint. A PASSIVE one waits for nobody.
func (f *File) copyBack(ctx context.Context, conn *sql.Conn, mode string) (whole bool, err error) {
	var blocked, frames, done int
	err = conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint("+mode+")").Scan(&blocked, &frames, &done)
	if err != nil {
		return false, f.noted(Classify("copy the log back", err))
	}
	return blocked == 0 && frames == done, nil
}

// keepShort copies the log back whenever it has become long, until ctx ends.
func (f *File) keepShort(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		}
		if f.damaged.Load() {
			continue
		}
		if err := f.shorten(ctx); err != nil && ctx.Err() == nil {
			f.log.Error("the log of the database could not be copied back", slog.String("error", err.Error()))
		}
	}
}

// shorten copies most of the log back while others write, and the rest while they wait: that is short.
func (f *File) shorten(ctx context.Context) error {
	unpin, err := f.pin(ctx)
	if err != nil || unpin == nil {
		return err
	}
	if err := f.copyMost(ctx); err != nil {
		return errors.Join(err, unpin())
	}
	conn, err := f.write.Conn(ctx)
	// Only now: without the pin, and with everything copied, the next transaction would first have to do what follows.
	err = errors.Join(Classify("copy the log back", err), unpin())
	if err != nil {
		if conn != nil {
			_ = conn.Close()
		}
		return err
	}
	defer func() { _ = conn.Close() }() // it only goes back to the pool
	_, err = f.checkpoint(ctx, conn)
	return err
}

// pin reads the database by the keeper's connection: while it does, the log grows and is not written over. That is so only while something of
// the log is still to be copied, for else a reader has no need of it; so that is looked at, and the reading begun, with the connection that
// writes in hand. Where all has been copied already it settles the sums, and unpin is nil.
func (f *File) pin(ctx context.Context) (unpin func() error, err error) {
	conn, err := f.write.Conn(ctx)
	if err != nil {
		return nil, Classify("copy the log back", err)
	}
	defer func() { _ = conn.Close() }() // it only goes back to the pool
	if !f.uncopied() {
		_, err := f.checkpoint(ctx, conn)
		return nil, err
	}
	// A context that ends would take the keeper's connection with it.
	ctx = context.WithoutCancel(ctx)
	tx, err := f.keep.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, Classify("copy the log back", err)
	}
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil {
		return nil, errors.Join(f.noted(Classify("copy the log back", err)), tx.Rollback())
	}
	return tx.Rollback, nil
}

// uncopied reports whether SQLite has yet to copy a part of the log. It is to be asked with the connection that writes in hand.
func (f *File) uncopied() bool {
	f.mu.Lock() // nobody copies meanwhile
	defer f.mu.Unlock()
	f.markMu.Lock()
	defer f.markMu.Unlock()
	m, done, ok := f.reached()
	return ok && done < m.frames
}

func (f *File) copyMost(ctx context.Context) error {
	conn, err := f.pins.Conn(ctx)
	if err != nil {
		return Classify("copy the log back", err)
	}
	defer func() { _ = conn.Close() }() // it only goes back to the pool
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.catchUp(); err != nil {
		return err
	}
	_, err = f.copyBack(ctx, conn, "PASSIVE")
	return err
}

// Close ends what Open has started, waits for the transaction that is being written, copies the log back and closes the file. It is idempotent.
func (f *File) Close() error {
	f.closing.Do(func() { f.closed = f.close() })
	return f.closed
}

func (f *File) close() error {
	if f.stop != nil {
		f.stop()
	}
	f.running.Wait()
	var errs []error
	if f.read != nil {
		errs = append(errs, f.read.Close())
	}
	hold, restore, err := f.lastCheckpoint()
	errs = append(errs, err)
	if f.keep != nil {
		errs = append(errs, f.keep.Close())
	}
	for _, db := range []*sql.DB{f.pins, f.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	errs = append(errs, hold())
	for _, file := range []*os.File{f.index, f.markFile} {
		if file != nil {
			errs = append(errs, file.Close())
		}
	}
	errs = append(errs, f.tail.close(), restore(), f.sums.close())
	return errors.Join(errs...)
}

// errBusy says that somebody still reads.
var errBusy = errors.New("the log is still being read")

// lastCheckpoint waits for whoever writes, and copies the log back. Nobody writes any more until release, which is to be called when the pool is closed:
// the last connection that is closed copies back what it finds, and it must find nothing. Where it does, restore gives the log back.
func (f *File) lastCheckpoint() (release, restore func() error, err error) {
	nothing := func() error { return nil }
	if f.write == nil {
		return nothing, nothing, nil
	}
	if f.index == nil { // opening has failed half way
		return nothing, f.saveLog(), nil
	}
	conn, err := f.write.Conn(context.Background())
	if err != nil {
		return nothing, f.saveLog(), Classify("close the database", err)
	}
	if f.damaged.Load() {
		return conn.Close, f.saveLog(), fmt.Errorf("close the database: %w", ErrDamaged)
	}
	whole, err := f.checkpoint(context.Background(), conn)
	if err == nil && !whole {
		err = errBusy
	}
	if err == nil {
		return conn.Close, nothing, nil
	}
	if errors.Is(err, ErrDiskFull) || errors.Is(err, errBusy) {
		f.log.Warn("the log of the database is left to the next opening", slog.String("error", err.Error()))
		err = nil
	}
	return conn.Close, f.saveLog(), err
}

// saveLog gives the log a second name, and returns what gives it its own back. Closing, SQLite copies the log back and removes it; but without
// sums of what was copied only the log says what is true.
func (f *File) saveLog() (restore func() error) {
	saved := f.path + logSuffix + savedSuffix
	if err := removeAll(saved); err != nil {
		return func() error { return err }
	}
	if err := os.Link(f.path+logSuffix, saved); err != nil && !missing(err) {
		return func() error { return fmt.Errorf("keep the log: %w", err) }
	}
	return func() error {
		if _, err := os.Stat(saved); missing(err) {
			return nil
		}
		return os.Rename(saved, f.path+logSuffix)
	}
}
