// Package history is a peer's memory on disk: the outbox and its numbers, the conversations, the receiving sessions, and the
// pinned keys of contacts, in one SQLite file whose contents are sealed under the home's storage key.
//
// Everything that must not come apart goes through [Store.Commit], which takes a whole [Batch] and returns after it is on the disk. It is then one
// record of a journal beside the file (package journal) and known in memory. About every tenth of a second, and before anything is read, what has come
// together goes into the file in one transaction: a commit of one message costs one small write, and rows are written once
// however many commits have changed them. A start after a crash begins by carrying over what the journal holds.
//
// What stands in the file unsealed: numbers, states, times, sizes, and fingerprints of devices.
package history

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/pressly/goose/v3"

	"github.com/byway-chat/byway/peer/delivery"
	"github.com/byway-chat/byway/peer/journal"
	"github.com/byway-chat/byway/rendezvous/sqlitefile"
)

//go:embed schema/*.sql
var schema embed.FS

// Errors that a caller can do something about; they wrap the database's own.
var (
	ErrDamaged  = errors.New("the history file is damaged or was made with another key")
	ErrDiskFull = errors.New("the disk is full")
	// ErrOldFormat is returned for a file from before the first release.
	ErrOldFormat = errors.New("the history file was written by a version from before the first release")
)

// Store is an open history file. Its methods may be called from any goroutine; commits take turns.
type Store struct {
	path    string
	file    *sqlitefile.File
	write   *sql.DB // file's; what changes something goes through file.Update
	read    *sql.DB // file's
	box     *box    // immutable after Open
	index   []byte  // key of the tags; immutable after Open
	damage  []string
	aside   string        // where a damaged journal was put; as damage, immutable after Open
	pending chan struct{} // of one: something waits to go to the file
	crowded chan struct{} // of one: it should not wait
	stop    context.CancelFunc
	running sync.WaitGroup
	closing sync.Once
	closed  error // set by closing

	// recent holds where in the history the newest of our own messages stand, by id.
	recent *lru.Cache[delivery.MessageID, int64]

	settling   sync.Mutex           // held while something goes to the file, taken before mu; guards the following
	frozen     []statement          // on their way to the file; those of a transaction that has failed stay
	upto       uint64               // number of the newest record of the journal that they hold
	statements map[string]*sql.Stmt // of the writing connection, for as long as the store is open; nil: not prepared yet

	mu      sync.Mutex                      // held for the time of a commit; guards the following
	w       *writer                         // nil: memory has to be read from the disk
	journal *journal.Journal                // nil: none could be made, or it has failed
	seq     uint64                          // number of the newest record, whatever has become of it
	void    uint64                          // number of a record that must not be carried over; 0: none
	failed  error                           // of the last transaction; nil: it has not
	record  []byte                          // for use again
	ids     map[delivery.MessageID]struct{} // of the messages of idsOf; nil: not read
	idsOf   delivery.Device
}

// recentMessages is how many ids of our own messages are found without a search.
const recentMessages = 8192

// Open opens or creates the file at path, readable by its owner only. key is the home's storage key. It starts only goroutines
// that Close ends.
func Open(ctx context.Context, path string, key [32]byte) (*Store, error) {
	if err := ensure(path); err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	_ = os.Remove(roomPath(path)) // of a process that was killed while it tried
	box, err := newBox(key[:])
	if err != nil {
		return nil, err
	}
	index, err := hkdf.Key(sha256.New, key[:], nil, "byway/v1 history index", 32)
	if err != nil {
		return nil, fmt.Errorf("derive index key: %w", err)
	}
	recent, err := lru.New[delivery.MessageID, int64](recentMessages)
	if err != nil {
		return nil, fmt.Errorf("make cache of messages: %w", err)
	}
	s := &Store{
		path: path, box: box, index: index, recent: recent, statements: map[string]*sql.Stmt{}, pending: make(chan struct{}, 1), crowded: make(chan struct{}, 1),
		stop: func() {},
	}
	s.file, err = sqlitefile.Open(ctx, path, sqlitefile.Options{
		Readers: 3, Writing: []string{"temp_store(memory)", "cache_spill(false)"}, Reading: []string{"temp_store(memory)"}, Checkpoint: 4000,
		Inspect: inspect, Prepare: migrate, Rescued: s.rescued, Pinned: []string{"goose_db_version"},
	})
	if err != nil {
		return nil, classify("open history", err)
	}
	s.write, s.read = s.file.Writer(), s.file.Reader()
	err = s.checkKey(ctx)
	if err == nil {
		err = s.carryOver(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	background, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.running.Go(func() { s.settler(background) })
	return s, nil
}

// ensure refuses a file that was cut to less than a database can be: SQLite would silently begin anew in it.
func ensure(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if size := info.Size(); size > 0 && size < minFile {
		return fmt.Errorf("%w: it has %d bytes", ErrDamaged, size)
	}
	return nil
}

// minFile is the smallest page of SQLite, in bytes.
const minFile = 512

// inspect refuses a file from before the first release.
func inspect(ctx context.Context, db *sql.DB) error {
	old, err := sqlitefile.HasTable(ctx, db, "outbox")
	if err == nil && old {
		return ErrOldFormat
	}
	return err
}

func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(schema, "schema")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return err
	}
	_, err = provider.Up(ctx)
	return err
}

// Close writes what is pending and closes the files. It may be called twice.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.stop()
		s.running.Wait()
		s.closed = errors.Join(s.finish(), s.file.Close())
	})
	return s.closed
}

// room is what Room wants, in bytes: more than the messages of a person fill at once, and little beside a disk.
const room = 256 << 10

// Room tries whether the disk takes anything and keeps it: by a file beside the history, which is removed again. It is of random bytes, which no file system makes
// smaller. Of a disk that is full the error wraps [ErrDiskFull].
func (s *Store) Room() error {
	f, err := os.OpenFile(roomPath(s.path), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return classify("try the disk", err)
	}
	b := make([]byte, room)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return classify("try the disk", errors.Join(err, f.Close(), os.Remove(roomPath(s.path))))
}

func roomPath(path string) string { return path + ".room" }

// tag is what stands for an account name in the file.
func (s *Store) tag(name string) []byte {
	m := hmac.New(sha256.New, s.index)
	m.Write([]byte(name))
	return m.Sum(nil)[:16]
}

// classify wraps a database error and marks the kinds that have a cure.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	classified := sqlitefile.Classify(doing, err)
	switch {
	case errors.Is(classified, sqlitefile.ErrDiskFull):
		return fmt.Errorf("%s: %w: %w", doing, ErrDiskFull, err)
	case errors.Is(classified, sqlitefile.ErrDamaged):
		return fmt.Errorf("%s: %w: %w", doing, ErrDamaged, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
