package history

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/byway-chat/byway/peer/delivery"
)

// A batch stands in the journal as one sealed record: a format, and then each list with its length before it. One function for each part
// writes it and reads it back, so that the two cannot differ.

// recordFormat is the first byte of a record.
const recordFormat = 1

func recordLabel(seq uint64) string { return fmt.Sprintf("journal %d", seq) }

// encode appends the batch to b.
func (b *Batch) encode(to []byte) ([]byte, error) {
	c := &codec{b: append(to, recordFormat), writing: true}
	err := c.batch(b)
	return c.b, err
}

// decodeBatch reads what encode wrote.
func decodeBatch(record []byte) (*Batch, error) {
	if len(record) == 0 || record[0] != recordFormat {
		return nil, ErrDamaged
	}
	c, b := &codec{b: record[1:]}, new(Batch)
	if err := c.batch(b); err != nil {
		return nil, err
	}
	if c.bad || len(c.b) > 0 {
		return nil, ErrDamaged
	}
	return b, nil
}

// codec writes values to the end of b, or takes them off its beginning. Once something did not fit it is bad and leaves zeros.
type codec struct {
	b       []byte
	writing bool
	bad     bool
}

func (c *codec) uint(v *uint64) {
	if c.writing {
		c.b = binary.AppendUvarint(c.b, *v)
		return
	}
	got, n := binary.Uvarint(c.b)
	if c.bad || n <= 0 {
		c.bad, *v = true, 0
		return
	}
	*v, c.b = got, c.b[n:]
}

func (c *codec) int(v *int64) {
	u := uint64(*v)<<1 ^ uint64(*v>>63) // zigzag
	c.uint(&u)
	*v = int64(u>>1) ^ -int64(u&1)
}

// fixed writes or fills all of v.
func (c *codec) fixed(v []byte) {
	if c.writing {
		c.b = append(c.b, v...)
		return
	}
	if c.bad || len(v) > len(c.b) {
		c.bad = true
		return
	}
	copy(v, c.b)
	c.b = c.b[len(v):]
}

func (c *codec) flag(v *bool) {
	one := [1]byte{flag(*v)}
	c.fixed(one[:])
	*v = one[0] != 0
}

func (c *codec) bytes(v *[]byte) {
	n := uint64(len(*v))
	c.uint(&n)
	if !c.writing && n > uint64(len(c.b)) {
		c.bad = true
	}
	if c.bad {
		return
	}
	if !c.writing {
		*v = make([]byte, n)
	}
	c.fixed(*v)
}

// text is for any kind of string.
func text[T ~string](c *codec, v *T) {
	if c.writing {
		c.b = appendText(c.b, string(*v))
		return
	}
	var b []byte
	c.bytes(&b)
	*v = T(b)
}

// small is for numbers of a few bits.
func small[T ~uint8](c *codec, v *T) {
	one := [1]byte{byte(*v)}
	c.fixed(one[:])
	*v = T(one[0])
}

// time keeps microseconds, as the history does.
func (c *codec) time(v *time.Time) {
	us := micros(*v)
	c.int(&us)
	if !c.writing {
		*v = fromMicros(us)
	}
}

// list writes or reads a list whose values item handles; none is shorter than a byte.
func list[T any](c *codec, v *[]T, item func(*T)) {
	n := uint64(len(*v))
	c.uint(&n)
	if !c.writing {
		if n > uint64(len(c.b)) {
			c.bad = true
			return
		}
		*v = nil
		if n > 0 {
			*v = make([]T, n)
		}
	}
	for i := range *v {
		item(&(*v)[i])
	}
}

func (c *codec) batch(b *Batch) (err error) {
	list(c, &b.Ops, c.op)
	list(c, &b.Contacts, func(v **Contact) {
		if e := c.contact(v); e != nil {
			err = e
		}
	})
	list(c, &b.Sessions, func(v *Session) {
		closed := v.State == nil
		c.fixed(v.ID[:])
		c.fixed(v.Device[:])
		c.time(&v.Used)
		if c.flag(&closed); !closed {
			c.bytes(&v.State)
		}
	})
	list(c, &b.Blocked, func(v *Blocked) {
		c.int(&v.ID)
		text(c, &v.Account)
		c.fixed(v.Device[:])
		text(c, &v.Way)
		c.bytes(&v.Envelope)
	})
	list(c, &b.Released, c.int)
	return err
}

func (c *codec) contact(v **Contact) (err error) {
	var raw []byte
	if c.writing {
		if raw, err = json.Marshal(*v); err != nil {
			return fmt.Errorf("encode %T: %w", *v, err)
		}
	}
	if c.bytes(&raw); c.writing || c.bad {
		return nil
	}
	*v = new(Contact)
	if err := json.Unmarshal(raw, *v); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// The kinds of ops; numbers are only ever added.
const (
	kindEnqueue = 1 + iota
	kindCopy
	kindProgress
	kindRead
	kindVoid
	kindRenumber
	kindSettle
	kindStart
	kindReceive
	kindRelease
	kindDrop
	kindNext
	kindGap
)

func kindOf(op delivery.Op) (kind uint8) {
	switch op.(type) {
	case delivery.OpEnqueue:
		return kindEnqueue
	case delivery.OpCopy:
		return kindCopy
	case delivery.OpProgress:
		return kindProgress
	case delivery.OpRead:
		return kindRead
	case delivery.OpVoid:
		return kindVoid
	case delivery.OpRenumber:
		return kindRenumber
	case delivery.OpSettle:
		return kindSettle
	case delivery.OpStart:
		return kindStart
	case delivery.OpReceive:
		return kindReceive
	case delivery.OpRelease:
		return kindRelease
	case delivery.OpDrop:
		return kindDrop
	case delivery.OpNext:
		return kindNext
	case delivery.OpGap:
		return kindGap
	}
	panic(fmt.Sprintf("history: no rule for %T", op)) // the house tests each kind
}

func (c *codec) op(v *delivery.Op) {
	var kind uint8
	if c.writing {
		kind = kindOf(*v)
	}
	switch small(c, &kind); kind {
	case kindEnqueue:
		value(c, v, func(o *delivery.OpEnqueue) { c.message(&o.Message) })
	case kindCopy:
		value(c, v, func(o *delivery.OpCopy) { text(c, &o.To); c.uint(&o.N); c.fixed(o.Device[:]); small(c, &o.Phase) })
	case kindProgress:
		value(c, v, func(o *delivery.OpProgress) { text(c, &o.To); c.uint(&o.N); c.progress(&o.Progress) })
	case kindRead:
		value(c, v, func(o *delivery.OpRead) { text(c, &o.To); c.uint(&o.Upto) })
	case kindVoid:
		value(c, v, func(o *delivery.OpVoid) { text(c, &o.To); c.uint(&o.N); c.time(&o.Expires) })
	case kindRenumber:
		value(c, v, func(o *delivery.OpRenumber) { text(c, &o.To); c.uint(&o.Old); c.uint(&o.New); c.fixed(o.Prev[:]) })
	case kindSettle:
		value(c, v, func(o *delivery.OpSettle) { text(c, &o.To); c.uint(&o.N) })
	case kindStart:
		value(c, v, func(o *delivery.OpStart) { text(c, &o.To); c.fixed(o.Device[:]); c.uint(&o.Start) })
	case kindReceive:
		value(c, v, func(o *delivery.OpReceive) { c.incoming(&o.Message); c.flag(&o.Held) })
	case kindRelease:
		value(c, v, func(o *delivery.OpRelease) { c.fixed(o.Device[:]); c.uint(&o.N) })
	case kindDrop:
		value(c, v, func(o *delivery.OpDrop) { c.fixed(o.Device[:]); c.uint(&o.N) })
	case kindNext:
		value(c, v, func(o *delivery.OpNext) { c.fixed(o.Device[:]); c.uint(&o.Next); c.fixed(o.Tip[:]) })
	case kindGap:
		value(c, v, func(o *delivery.OpGap) { text(c, &o.From); c.fixed(o.Device[:]); c.uint(&o.First); c.uint(&o.Last) })
	default:
		c.bad = true
	}
}

// value handles the fields of one kind of op.
func value[T delivery.Op](c *codec, v *delivery.Op, fields func(*T)) {
	var o T
	if c.writing {
		o = (*v).(T)
	}
	fields(&o)
	if !c.writing {
		*v = o
	}
}

func (c *codec) message(m *delivery.Message) {
	text(c, &m.To)
	c.uint(&m.N)
	c.fixed(m.ID[:])
	text(c, &m.CopyOf)
	text(c, &m.Body)
	c.time(&m.Sent)
	c.time(&m.Expires)
	small(c, &m.Policy)
	list(c, &m.Devices, func(d *delivery.Device) { c.fixed(d[:]) })
	c.fixed(m.Prev[:])
	c.flag(&m.Renumbered)
	c.flag(&m.Void)
}

func (c *codec) incoming(m *delivery.Incoming) {
	text(c, &m.From)
	c.fixed(m.Device[:])
	c.uint(&m.N)
	c.fixed(m.ID[:])
	c.fixed(m.Prev[:])
	text(c, &m.CopyOf)
	text(c, &m.Body)
	c.time(&m.Sent)
	c.time(&m.Received)
	text(c, &m.Way)
}

func (c *codec) progress(p *delivery.Progress) {
	small(c, &p.Stage)
	text(c, &p.Way)
	took := int64(p.Took / time.Microsecond)
	c.int(&took)
	p.Took = time.Duration(took) * time.Microsecond
	text(c, &p.Reason)
}
