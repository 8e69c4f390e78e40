package sqlitefile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/byway-chat/byway/rendezvous/bitrot"
)

// image is the database as its main file and its log give it together, page by page. It only reads.
type image struct {
	main     *os.File
	logFile  *os.File // nil: there is no log
	log      *pageLog
	pageSize int
	pages    uint32
	mended   map[uint32][]byte // of the main file
	lost     map[uint32]string // page → where it should have been
}

// errLost says that a page is not known.
var errLost = errors.New("the page is lost")

// page returns a copy of page n.
func (im *image) page(n uint32) ([]byte, error) {
	b := make([]byte, im.pageSize)
	if n == 0 || n > im.pages {
		return nil, fmt.Errorf("page %d: %w", n, errLost)
	}
	if _, ok := im.lost[n]; ok {
		return nil, fmt.Errorf("page %d: %w", n, errLost)
	}
	if i, ok := im.log.at[n]; ok {
		if f := im.log.mended[i]; f != nil {
			copy(b, f[frameHeaderSize:])
			return b, nil
		}
		_, err := im.logFile.ReadAt(b, logHeaderSize+int64(i)*int64(frameHeaderSize+im.pageSize)+frameHeaderSize)
		return b, err
	}
	if m := im.mended[n]; m != nil {
		copy(b, m)
		return b, nil
	}
	if _, err := im.main.ReadAt(b, int64(n-1)*int64(im.pageSize)); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read page %d: %w", n, err)
	}
	return b, nil
}

// lockPage is the page at 1 GiB, which SQLite leaves alone.
func lockPage(pageSize int) uint32 { return uint32((1<<30)/pageSize) + 1 }

// verify compares every page that must come from the main file with its sum, and fills in mended and lost. It reads the file once, with as many
// goroutines as there are processors, which have ended when it returns.
func (im *image) verify(want []bitrot.Sum) (damage []Damage, err error) {
	im.mended, im.lost = map[uint32][]byte{}, map[uint32]string{}
	for page, where := range im.log.unknown {
		im.lost[page] = where
	}
	const chunk = 256 // pages
	var (
		mu   sync.Mutex // guards the following, im.mended and im.lost
		next uint32     = 1
		wg   sync.WaitGroup
	)
	work := func() {
		b := make([]byte, chunk*im.pageSize)
		for {
			mu.Lock()
			first := next
			next += chunk
			failed := err != nil
			mu.Unlock()
			if first > im.pages || failed {
				return
			}
			found, e := im.verifyChunk(first, b, want, &mu)
			mu.Lock()
			damage, err = append(damage, found...), errors.Join(err, e)
			mu.Unlock()
		}
	}
	for range min(runtime.GOMAXPROCS(0), 1+int(im.pages/chunk)) {
		wg.Go(work)
	}
	wg.Wait()
	slices.SortFunc(damage, func(a, b Damage) int { return int(int64(a.Page) - int64(b.Page)) })
	return damage, err
}

// verifyChunk looks at the pages from first on that fit into b.
func (im *image) verifyChunk(first uint32, b []byte, want []bitrot.Sum, mu *sync.Mutex) (damage []Damage, err error) {
	n, err := im.main.ReadAt(b, int64(first-1)*int64(im.pageSize))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read page %d: %w", first, err)
	}
	for i := range uint32(len(b) / im.pageSize) {
		p := first + i
		if p > im.pages {
			break
		}
		_, inLog := im.log.at[p]
		_, unknown := im.log.unknown[p]
		if inLog || unknown || p == lockPage(im.pageSize) || int(p) <= len(want) && want[p-1] == noSum {
			continue
		}
		block := b[int(i)*im.pageSize:][:im.pageSize]
		found := bitrot.Lost
		if int(i+1)*im.pageSize <= n && int(p) <= len(want) {
			found = bitrot.Mend(block, want[p-1])
		}
		if found == bitrot.Healthy {
			continue
		}
		d := Damage{Page: p, Mended: found != bitrot.Lost}
		if found == bitrot.SumWrong {
			d = Damage{File: sumsSuffix, Page: p, Mended: true}
		}
		damage = append(damage, d)
		mu.Lock()
		switch found {
		case bitrot.Lost:
			im.lost[p] = "the main file"
		case bitrot.Mended:
			im.mended[p] = slices.Clone(block)
		case bitrot.Healthy, bitrot.SumWrong: // it is what it was
		}
		mu.Unlock()
	}
	return damage, nil
}
