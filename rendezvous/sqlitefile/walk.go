package sqlitefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// walk finds out to which table or index each page of an image belongs.
type walk struct {
	im      *image
	outline outline  // as it was kept beside the file
	objects []object // of the database, with their roots
	owner   []uint32 // page → root; 0: not known
	pages   map[uint32][]uint32
	lost    map[uint32]int // root → pages of it that are lost
	unsure  bool           // a page is lost of which it is not known what it was
	mapped  bool           // the file has a map from each page to its parent
}

// survey looks at every page of an image once.
func survey(im *image, kept outline) (*walk, error) {
	w := &walk{im: im, outline: kept, owner: make([]uint32, im.pages+1), pages: map[uint32][]uint32{}, lost: map[uint32]int{}}
	w.mapped = kept.Mapped
	if first, err := im.page(1); err == nil {
		w.mapped = binary.BigEndian.Uint32(first[52:]) != 0
	}
	if err := w.readObjects(); err != nil {
		return nil, err
	}
	for _, o := range w.objects {
		if o.Root > 1 {
			if err := w.descend(o.Root, o.Root, 0); err != nil {
				return nil, err
			}
		}
	}
	if w.mapped {
		if err := w.adoptOrphans(); err != nil {
			return nil, err
		}
	}
	return w, w.countLost()
}

// schemaRoot is the page where the schema begins. It may go on on others.
const schemaRoot = 1

// readObjects reads the schema: from its own pages while they are whole, else as it was kept.
func (w *walk) readObjects() error {
	if err := w.descend(schemaRoot, schemaRoot, 0); err != nil {
		return err
	}
	whole := true
	for _, p := range w.pages[schemaRoot] {
		err := w.records(p, func(_ int64, values []any) error {
			if o, ok := objectOf(values); ok {
				w.objects = append(w.objects, o)
			}
			return nil
		}, func() { whole = false })
		if err != nil {
			return err
		}
	}
	for page := range w.im.lost {
		whole = whole && w.owner[page] != schemaRoot
	}
	if whole = whole && (!w.unsure || len(w.outline.Objects) == 0) && len(w.pages[schemaRoot]) > 0; whole {
		return nil
	}
	w.unsure = false // of the schema alone, which is known otherwise
	if len(w.outline.Objects) == 0 {
		return fmt.Errorf("read what tables the database has: %w", ErrDamaged)
	}
	w.objects = w.outline.Objects
	return nil
}

func objectOf(values []any) (o object, ok bool) {
	if len(values) != 5 {
		return o, false
	}
	root, _ := values[3].(int64)
	if root < 0 || root > maxPages {
		return o, false
	}
	o.Type, _ = values[0].(string)
	o.Name, _ = values[1].(string)
	o.Table, _ = values[2].(string)
	o.SQL, _ = values[4].(string)
	o.Root = uint32(root)
	return o, true
}

// maxDepth is more than any tree has: four levels hold a hundred million pages.
const maxDepth = 32

// descend claims page and all pages below it for root. What it cannot read it leaves for countLost.
func (w *walk) descend(page, root uint32, depth int) error {
	if page == 0 || page > w.im.pages || w.owner[page] != 0 || depth > maxDepth {
		w.unsure = true // a child that cannot be one: its place is not known
		return nil
	}
	w.owner[page] = root
	tree, err := w.tree(page)
	if errors.Is(err, errLost) {
		return nil
	}
	if errors.Is(err, errMalformed) {
		w.im.lost[page] = "it is malformed"
		return nil
	}
	if err != nil {
		return err
	}
	w.pages[root] = append(w.pages[root], page)
	for _, child := range tree.children() {
		if err := w.descend(child, root, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) tree(page uint32) (*treePage, error) {
	data, err := w.im.page(page)
	if err != nil {
		return nil, err
	}
	return parseTree(data, page)
}

// What the map says of a page; see https://sqlite.org/fileformat2.html#pointer_map_or_ptrmap_pages.
const (
	mapRoot     = 1
	mapFree     = 2
	mapOverflow = 3 // first page of a chain; its parent is the page with the record
	mapChain    = 4 // further page; its parent is the page before
	mapTree     = 5
)

// mapPage returns the page of the map that has the entry of page.
func (w *walk) mapPage(page uint32) uint32 {
	if page < 2 {
		return 0
	}
	each := uint32(w.im.pageSize/5) + 1
	m := (page-2)/each*each + 2
	if m == lockPage(w.im.pageSize) {
		m++
	}
	return m
}

// parent asks the map. kind is 0 where it cannot be known.
func (w *walk) parent(page uint32) (kind byte, parent uint32, err error) {
	m := w.mapPage(page)
	if !w.mapped || m == 0 || page <= m {
		return 0, 0, nil
	}
	data, err := w.im.page(m)
	if errors.Is(err, errLost) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	at := int(page-m-1) * 5
	if at+5 > len(data) {
		return 0, 0, nil
	}
	return data[at], binary.BigEndian.Uint32(data[at+1:]), nil
}

// rootOf goes up by the map until it comes to a page whose owner is known. free reports a page that holds nothing.
func (w *walk) rootOf(page uint32) (root uint32, free bool, err error) {
	for range 1 << 20 { // a chain of overflow pages may be long
		if root = w.owner[page]; root != 0 {
			return root, false, nil
		}
		kind, up, err := w.parent(page)
		switch {
		case err != nil:
			return 0, false, err
		case kind == mapFree:
			return 0, true, nil
		case kind == mapRoot:
			return page, false, nil
		case kind < mapOverflow || kind > mapTree || up == 0 || up > w.im.pages:
			return 0, false, nil
		}
		page = up
	}
	return 0, false, nil
}

// adoptOrphans claims the pages whose parents are lost.
func (w *walk) adoptOrphans() error {
	for page := uint32(3); page <= w.im.pages; page++ {
		if w.owner[page] != 0 || w.mapPage(page) == page {
			continue
		}
		if _, isLost := w.im.lost[page]; isLost {
			continue
		}
		kind, _, err := w.parent(page)
		if err != nil {
			return err
		}
		if kind != mapTree {
			continue
		}
		root, _, err := w.rootOf(page)
		if err != nil {
			return err
		}
		if root == schemaRoot {
			continue // the schema was kept
		}
		if _, err := w.tree(page); err != nil || root == 0 || !slices.ContainsFunc(w.objects, func(o object) bool { return o.Root == root }) {
			w.unsure = true
			continue
		}
		w.owner[page] = root
		w.pages[root] = append(w.pages[root], page)
	}
	return nil
}

// countLost finds out of what the lost pages were.
func (w *walk) countLost() error {
	for page := range w.im.lost {
		if page <= 1 || w.mapped && w.mapPage(page) == page {
			continue // the schema, which is known again; or the map, which is made anew
		}
		root, free, err := w.rootOf(page)
		switch {
		case err != nil:
			return err
		case free:
		case root == 0:
			w.unsure = true
		default:
			w.lost[root]++
		}
	}
	return nil
}

// records calls f for each record on a page that belongs to a tree, and broken for each that cannot be read.
func (w *walk) records(page uint32, f func(rowid int64, values []any) error, broken func()) error {
	tree, err := w.tree(page)
	if err != nil {
		return err
	}
	for i := range tree.cells {
		c, ok, err := tree.cell(i)
		if err == nil && !ok {
			return nil
		}
		var values []any
		if err == nil {
			var b []byte
			if b, err = c.payload(w.im.pageSize, w.im.page); err == nil {
				values, err = parseRecord(b)
			}
		}
		switch {
		case errors.Is(err, errLost), errors.Is(err, errMalformed):
			broken()
		case err != nil:
			return err
		default:
			if err := f(c.rowid, values); err != nil {
				return err
			}
		}
	}
	return nil
}
