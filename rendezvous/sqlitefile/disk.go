package sqlitefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/byway-chat/byway/rendezvous/bitrot"
)

// What stands beside a database NAME.
const (
	logSuffix   = "-wal"
	indexSuffix = "-shm"
	sumsSuffix  = ".sums"
	markSuffix  = ".mark"
	freshSuffix = ".fresh"   // being made by a rescue
	planSuffix  = ".rescue"  // there while a rescue's file takes its place
	keptSuffix  = ".damaged" // before a dash and the time
	savedSuffix = ".saved"   // of a log that closing must not remove
)

func sortedPages[V any](m map[uint32]V) []uint32 { return slices.Sorted(maps.Keys(m)) }

// syncDir puts the names in the directory of path on the disk.
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("sync the directory: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// sizeOf returns the length of a file, and 0 for one that is missing.
func sizeOf(path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// sumFile returns the sums of all pages of a closed database.
func sumFile(path string) (pages []bitrot.Sum, pageSize int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = f.Close() }() // it was only read
	head := make([]byte, 100)
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, 0, fmt.Errorf("read the head of the database: %w", err)
	}
	if pageSize = int(binary.BigEndian.Uint16(head[16:])); pageSize == 1 {
		pageSize = 65536
	}
	if pageSize < 512 {
		return nil, 0, ErrDamaged
	}
	b := make([]byte, pageSize)
	for p := int64(0); ; p++ {
		_, err := f.ReadAt(b, p*int64(pageSize))
		if errors.Is(err, io.EOF) {
			return pages, pageSize, nil
		}
		if err != nil {
			return nil, 0, err
		}
		pages = append(pages, bitrot.Of(b))
	}
}

func removeAll(paths ...string) error {
	var errs []error
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
