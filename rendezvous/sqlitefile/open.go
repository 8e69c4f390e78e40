package sqlitefile

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/byway-chat/byway/rendezvous/bitrot"
)

// Open opens the file or makes it (0600), after it has compared all of it with its sums. Where that finds damage it first makes a fresh file of what
// can be read, keeps the damaged one aside, logs what it found at error level, and says it in Report. Its directory must exist. It reads the
// whole file: a second for a gigabyte or two that the system has in memory.
//
// A file without sums, of an earlier version or restored without them, is checked by SQLite alone, and gets sums. The errors are ErrDamaged,
// for what is no database of ours and was none, ErrDiskFull, ErrInUse, those of the file system and those of Options. It
// starts a goroutine, and those of database/sql; Close ends them.
func Open(ctx context.Context, path string, opts Options) (*File, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Checkpoint <= 0 {
		opts.Checkpoint = 4000
	}
	if opts.now == nil {
		opts.now = time.Now
	}
	f := &File{path: path, opts: opts, log: opts.Logger, wake: make(chan struct{}, 1)}
	if err := f.open(ctx); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	f.stop = stop
	f.running.Go(func() { f.keepShort(background) })
	return f, nil
}

func (f *File) open(ctx context.Context) error {
	if err := f.clearUp(); err != nil {
		return Classify("open the database", err)
	}
	if err := f.makeFile(); err != nil {
		return err
	}
	sums, err := f.prove(ctx)
	if err != nil {
		return err
	}
	f.sums = sums
	if f.sums == nil {
		if err := f.adopt(ctx); err != nil {
			return err
		}
	}
	if err := f.openConnections(ctx); err != nil {
		return err
	}
	f.generation = f.sums.header.generation
	// What the log holds was perhaps never fsynced: a failed fsync leaves it looking sound. Copied back, it is written and fsynced anew.
	// With no room for that the file is open all the same, so that what is in it can be read.
	if err := f.Checkpoint(ctx); errors.Is(err, ErrDiskFull) && !f.unsettled() {
		f.log.Warn("the log of the database could not be copied back", slog.String("error", err.Error()))
	} else if err != nil {
		return err
	}
	if f.opts.Prepare != nil {
		if err := f.opts.Prepare(ctx, f.write); err != nil {
			return f.noted(err)
		}
	}
	f.committed()
	return f.writeOutline(ctx)
}

// makeFile sees to it that the file is there and can be read and written by its owner alone. What stood beside one that somebody has taken away is
// put aside: it says nothing about a new one.
func (f *File) makeFile() error {
	if _, err := os.Lstat(f.path); missing(err) {
		kept := f.keptName(&Report{Time: f.opts.now()})
		for _, suffix := range damagedSet {
			err := os.Rename(f.path+suffix, kept+suffix)
			if err == nil {
				f.log.Warn("a database is gone; what was beside it is kept aside", slog.String("kept_aside", kept+suffix))
			} else if !missing(err) {
				return fmt.Errorf("open the database: %w", err)
			}
		}
	}
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	return nil
}

// prove compares the file with its sums, and rescues it where it must. The sums it returns are nil for a file that has none.
func (f *File) prove(ctx context.Context) (*sums, error) {
	s, damage, err := loadSums(f.path + sumsSuffix)
	if err != nil {
		return nil, err
	}
	m, found, err := loadMark(f.path + markSuffix)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	if found != bitrot.Healthy {
		damage = append(damage, Damage{File: markSuffix, Mended: true})
	}
	report := &Report{Time: f.opts.now()}
	report.add(damage...)
	if s == nil {
		return nil, f.proveAlone(ctx, report)
	}
	im, more, err := openImage(f.path, s, m)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	report.add(more...)
	if len(report.Damage) == 0 && m.suspect && m.generation == s.header.generation {
		bad, err := unsound(ctx, f.path)
		if err != nil {
			return nil, errors.Join(err, im.close(), s.close())
		}
		if bad {
			report.add(malformed)
		}
	}
	if foreign, err := f.copiedByOthers(ctx, im, s, m); err != nil {
		return nil, errors.Join(err, im.close(), s.close())
	} else if foreign {
		report.Damage, report.More = []Damage{{File: sumsSuffix, Detail: "another program has copied the log back", Mended: true}}, 0
	}
	if report.only(sumsSuffix, markSuffix) {
		if len(report.Damage) > 0 {
			return nil, errors.Join(im.close(), s.close(), f.inspect(ctx), f.replaceSums(report))
		}
		if err := f.inspect(ctx); err != nil {
			return nil, errors.Join(err, im.close(), s.close())
		}
		return s, im.close()
	}
	err = f.rescue(ctx, im, s.outline, report)
	if err = errors.Join(err, im.close(), s.close()); err != nil {
		return nil, err
	}
	return f.loadFresh()
}

// copiedByOthers reports that another program has opened the database after a crash: as the last to close it, it has copied the log back and removed it,
// and knows nothing of sums. Damage does not remove a log and leave everything sound.
func (f *File) copiedByOthers(ctx context.Context, im *image, s *sums, m mark) (bool, error) {
	done := s.header.copied
	if len(im.lost) == 0 || m.generation != s.header.generation || m.frames == 0 || done.covers(m) {
		return false, nil
	}
	if size, err := sizeOf(f.path + logSuffix); err != nil || size > 0 {
		return false, err
	}
	bad, err := unsound(ctx, f.path)
	return err == nil && !bad, err
}

// loadFresh loads the sums that a rescue has just made.
func (f *File) loadFresh() (*sums, error) {
	s, damage, err := loadSums(f.path + sumsSuffix)
	if err == nil && (s == nil || len(damage) > 0) {
		err = fmt.Errorf("open the rescued database: %w", ErrDamaged)
	}
	return s, err
}

func (s *sums) close() error {
	if s == nil {
		return nil
	}
	return s.f.Close()
}

// inspect lets the owner refuse a file.
func (f *File) inspect(ctx context.Context) error {
	size, err := sizeOf(f.path)
	if err != nil || size == 0 || f.opts.Inspect == nil {
		return err
	}
	db := connect(f.path, 1, looking)
	defer func() { _ = db.Close() }()
	return f.opts.Inspect(ctx, db)
}

// openImage puts the main file and its log together and verifies them.
func openImage(path string, s *sums, m mark) (im *image, damage []Damage, err error) {
	if m.generation != s.header.generation {
		m = mark{}
	}
	im = &image{pageSize: s.header.pageSize}
	if im.main, err = os.Open(path); err != nil {
		return nil, nil, fmt.Errorf("open the database: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, im.close())
		}
	}()
	if im.log, err = im.openLog(path+logSuffix, m, s.header.copied); err != nil {
		return nil, nil, err
	}
	im.pages = s.header.copied.pages
	if im.log.pages > 0 {
		im.pages = im.log.pages
	}
	damage, err = im.verify(s.pages)
	return im, append(im.log.damage, damage...), err
}

func (im *image) openLog(path string, m mark, done copied) (*pageLog, error) {
	f, err := os.Open(path)
	if missing(err) {
		return readLog(nil, 0, im.pageSize, m, done)
	}
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	im.logFile = f
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	return readLog(f, info.Size(), im.pageSize, m, done)
}

func (im *image) close() error {
	var errs []error
	for _, f := range []*os.File{im.main, im.logFile} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// proveAlone looks at a file that has no sums. SQLite reads all of it; where it finds damage, what can be read is rescued.
func (f *File) proveAlone(ctx context.Context, report *Report) error {
	if err := f.inspect(ctx); err != nil {
		return err
	}
	size, err := sizeOf(f.path)
	if err != nil || size == 0 {
		return err
	}
	bad, err := unsound(ctx, f.path)
	if err != nil {
		return err
	}
	if !bad {
		if len(report.Damage) > 0 {
			return f.replaceSums(report)
		}
		return nil
	}
	report.add(malformed)
	im, err := openPlain(f.path)
	if err != nil {
		return err
	}
	return errors.Join(f.rescue(ctx, im, outline{}, report), im.close())
}

// malformed is what only SQLite has noticed: each page is as it was written.
var malformed = Damage{Detail: "SQLite finds it malformed"}

// unsound asks SQLite whether a database is malformed.
func unsound(ctx context.Context, path string) (bool, error) {
	db := connect(path, 1, looking)
	defer func() { _ = db.Close() }()
	var first string
	err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&first)
	if errors.Is(kind(err), ErrDamaged) {
		return true, nil
	}
	return err == nil && first != "ok", Classify("check the database", err)
}

// openPlain puts a file without sums and its log together: every page that is there counts.
func openPlain(path string) (im *image, err error) {
	head := make([]byte, 100)
	im = &image{}
	if im.main, err = os.Open(path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, im.close())
		}
	}()
	if _, err := im.main.ReadAt(head, 0); err != nil {
		return nil, fmt.Errorf("read the database: %w: %w", ErrDamaged, err)
	}
	if im.pageSize = int(binary.BigEndian.Uint16(head[16:])); im.pageSize == 1 {
		im.pageSize = 65536
	}
	if im.pageSize < 512 || im.pageSize&(im.pageSize-1) != 0 {
		return nil, fmt.Errorf("read the database: %w", ErrDamaged)
	}
	if im.log, err = im.openLog(path+logSuffix, mark{}, copied{}); err != nil {
		return nil, err
	}
	size, err := sizeOf(path)
	if err != nil {
		return nil, err
	}
	if im.pages = uint32(size / int64(im.pageSize)); im.log.pages > 0 {
		im.pages = im.log.pages
	}
	im.lost = im.log.unknown
	return im, nil
}

// replaceSums keeps damaged sums aside, whose database is sound.
func (f *File) replaceSums(report *Report) error {
	f.report = report
	f.log.Error("the sums of the database were damaged and are made anew", slog.Any("damage", report))
	for _, suffix := range []string{sumsSuffix, markSuffix} {
		err := os.Rename(f.path+suffix, f.keptName(report)+suffix)
		if err != nil && !missing(err) {
			return fmt.Errorf("keep the damaged sums: %w", err)
		}
	}
	return nil
}

// adopt gives a file its first sums. SQLite makes it a database, where it is new, and copies back what its log holds; then it closes it.
func (f *File) adopt(ctx context.Context) error {
	db := connect(f.path, 1, making)
	_, err := db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	if err := errors.Join(err, db.Close()); err != nil {
		return Classify("open the database", err)
	}
	pages, pageSize, err := sumFile(f.path)
	if err != nil {
		return err
	}
	if err := removeAll(f.path + markSuffix); err != nil {
		return err
	}
	header := sumsHeader{generation: uint64(f.opts.now().UnixNano()), pageSize: pageSize, copied: copied{pages: uint32(len(pages))}}
	f.sums, err = makeSums(f.path+sumsSuffix, header, outline{}, pages)
	return Classify("open the database", err)
}

// writeOutline keeps the outline true.
func (f *File) writeOutline(ctx context.Context) error {
	o, err := readOutline(ctx, f.keep, f.opts.Pinned)
	if err != nil {
		return f.noted(Classify("read the outline of the database", err))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if o.equal(f.sums.outline) {
		return nil
	}
	if err := f.sums.setOutline(o); err != nil {
		return Classify("write the outline of the database", err)
	}
	return Classify("write the outline of the database", f.sums.f.Sync())
}

// queryer is a connection or a pool.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}
