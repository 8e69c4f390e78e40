package sqlitefile

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
)

// rescue makes a fresh file of an image, and puts it in the place of the damaged one.
func (f *File) rescue(ctx context.Context, im *image, kept outline, report *Report) error {
	f.log.Error("the database is damaged; what can be read is carried into a fresh one", slog.String("found", report.found()))
	fresh := f.path + freshSuffix
	err := f.makeFresh(ctx, im, kept, fresh, report)
	if err != nil {
		return errors.Join(Classify("rescue the database", err), removeFresh(f.path))
	}
	f.step("the fresh file is whole")
	report.Kept = f.keptName(report)
	p := plan{Kept: filepath.Base(report.Kept)}
	for _, suffix := range damagedSet {
		if _, err := os.Lstat(f.path + suffix); err == nil {
			p.Files = append(p.Files, suffix)
		}
	}
	if err := p.write(f.path); err != nil {
		return errors.Join(Classify("rescue the database", err), removeFresh(f.path))
	}
	f.step("the plan is written")
	if err := p.carryOut(f.path, f.step); err != nil {
		return Classify("rescue the database", err)
	}
	f.report = report
	f.log.Error("the database was damaged and has been rescued; the damaged one is kept aside", slog.Any("damage", report))
	return nil
}

// keptName is where the damaged database goes. The time makes it unique: a rescue takes longer than a nanosecond.
func (f *File) keptName(report *Report) string {
	return f.path + keptSuffix + "-" + report.Time.UTC().Format("20060102T150405.000000000Z")
}

func removeFresh(path string) error {
	fresh := path + freshSuffix
	return removeAll(fresh, fresh+logSuffix, fresh+indexSuffix, fresh+"-journal", fresh+sumsSuffix, fresh+sumsSuffix+".tmp", path+planSuffix+".tmp")
}

// makeFresh makes the fresh file and its sums, and fsyncs them.
func (f *File) makeFresh(ctx context.Context, im *image, kept outline, fresh string, report *Report) error {
	whole := len(im.lost) == 0 && im.log.nameless == 0
	if whole {
		if err := copyImage(im, fresh); err != nil {
			return err
		}
		bad, err := unsound(ctx, fresh)
		if err != nil {
			return err
		}
		if whole = !bad; bad {
			if err := removeFresh(f.path); err != nil {
				return err
			}
		}
	}
	if !whole {
		if err := f.salvage(ctx, im, kept, fresh, report); err != nil {
			return err
		}
		if bad, err := unsound(ctx, fresh); err != nil || bad {
			return errors.Join(err, fmt.Errorf("check the fresh database: %w", ErrDamaged))
		}
	}
	if f.opts.Inspect != nil {
		if err := inspectFresh(ctx, fresh, f.opts.Inspect); err != nil {
			return err
		}
	}
	if err := removeAll(fresh+logSuffix, fresh+indexSuffix); err != nil { // empty: whoever only looks makes them, too
		return err
	}
	if err := syncFile(fresh); err != nil {
		return err
	}
	pages, pageSize, err := sumFile(fresh)
	if err != nil {
		return err
	}
	header := sumsHeader{generation: uint64(report.Time.UnixNano()), pageSize: pageSize, copied: copied{pages: uint32(len(pages))}}
	s, err := makeSums(fresh+sumsSuffix, header, outline{}, pages)
	if err != nil {
		return err
	}
	return s.close()
}

func inspectFresh(ctx context.Context, fresh string, inspect func(context.Context, *sql.DB) error) error {
	db := connect(fresh, 1, looking)
	defer func() { _ = db.Close() }()
	return inspect(ctx, db)
}

// plan says which files of the damaged set get which new name. From when it is on the disk until the fresh file is in its place, every opening
// carries it out, from whatever step a crash has left it at.
type plan struct {
	Kept  string   `json:"kept"`  // base name
	Files []string `json:"files"` // what their names end with
}

// damagedSet is in the order in which it is moved: the database itself last.
var damagedSet = []string{logSuffix, indexSuffix, markSuffix, sumsSuffix, ""}

func (p *plan) write(path string) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	temp := path + planSuffix + ".tmp"
	if err := os.WriteFile(temp, b, 0o600); err != nil {
		return err
	}
	if err := syncFile(temp); err != nil {
		return err
	}
	if err := os.Rename(temp, path+planSuffix); err != nil {
		return err
	}
	return syncDir(path)
}

func (p *plan) carryOut(path string, step func(string)) error {
	fresh, kept := path+freshSuffix, filepath.Join(filepath.Dir(path), p.Kept)
	_, err := os.Lstat(fresh)
	if err == nil {
		for _, suffix := range p.Files {
			if _, err := os.Lstat(kept + suffix); err == nil {
				continue // moved before a crash; what has its name now is the fresh one's
			}
			if err := os.Rename(path+suffix, kept+suffix); err != nil && !missing(err) {
				return fmt.Errorf("keep the damaged database aside: %w", err)
			}
			step("a damaged file is aside: " + suffix)
		}
		for _, suffix := range []string{sumsSuffix, ""} {
			if err := os.Rename(fresh+suffix, path+suffix); err != nil && !missing(err) {
				return fmt.Errorf("put the fresh database in its place: %w", err)
			}
			step("a fresh file is in its place: " + suffix)
		}
	} else if !missing(err) {
		return err
	}
	if err := syncDir(path); err != nil {
		return err
	}
	if err := removeAll(path + planSuffix); err != nil {
		return err
	}
	return syncDir(path)
}

// clearUp finishes what a crash has divided.
func (f *File) clearUp() error {
	saved := f.path + logSuffix + savedSuffix
	if _, err := os.Lstat(f.path + logSuffix); missing(err) {
		if err := os.Rename(saved, f.path+logSuffix); err != nil && !missing(err) {
			return err
		}
	} else if err := removeAll(saved); err != nil {
		return err
	}
	b, err := os.ReadFile(f.path + planSuffix)
	if missing(err) {
		return removeFresh(f.path)
	}
	if err != nil {
		return err
	}
	p := new(plan)
	if err := json.Unmarshal(b, p); err != nil || p.Kept != filepath.Base(p.Kept) {
		return fmt.Errorf("read the plan of a rescue, %s: %w", f.path+planSuffix, ErrDamaged)
	}
	f.log.Warn("finishing the rescue of a damaged database", slog.String("kept_aside", p.Kept))
	return p.carryOut(f.path, f.step)
}
