package sqlitefile

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/byway-chat/byway/rendezvous/bitrot"
)

// TestMendFrame turns back what the log's own checksum can tell, and never turns back anything else.
func TestMendFrame(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		h := &logHeader{order: order, pageSize: 4096, salt: salt{1, 2, 3, 4, 5, 6, 7, 8}}
		before := chain{random.Uint32(), random.Uint32()}
		whole := make([]byte, frameHeaderSize+4096)
		for i := range whole {
			whole[i] = byte(random.Int())
		}
		copy(whole[8:], h.salt[:])
		sum := before.add(order, whole[:8]).add(order, whole[frameHeaderSize:])
		binary.BigEndian.PutUint32(whole[16:], sum[0])
		binary.BigEndian.PutUint32(whole[20:], sum[1])
		turned, all := 0, 0
		for bit := 0; bit < len(whole)*8; bit += 11 {
			b := bytes.Clone(whole)
			b[bit/8] ^= 1 << (bit % 8)
			all++
			switch _, found := h.mendFrame(before, b); {
			case found == bitrot.Mended && bytes.Equal(b, whole):
				turned++
			case found != bitrot.Lost:
				t.Fatalf("bit %d: got %v, and the frame is not what it was", bit, found)
			}
		}
		if turned < all/2 {
			t.Errorf("turned %d of %d bits back", turned, all)
		}
		t.Logf("turned %d of %d bits back", turned, all)
	}
}

// TestMendLogHeader turns back every bit of the heads of many logs. Their salts are random, so that some have bits that look like others.
func TestMendLogHeader(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	ambiguous := 0
	for range 200 {
		head := make([]byte, logHeaderSize)
		binary.BigEndian.PutUint32(head, logMagic)
		binary.BigEndian.PutUint32(head[4:], logVersion)
		binary.BigEndian.PutUint32(head[8:], 512)
		binary.BigEndian.PutUint32(head[12:], random.Uint32N(1000))
		binary.BigEndian.PutUint64(head[16:], random.Uint64())
		sum := chain{}.add(binary.LittleEndian, head[:24])
		binary.BigEndian.PutUint32(head[24:], sum[0])
		binary.BigEndian.PutUint32(head[28:], sum[1])
		want, ok := parseLogHeader(head)
		if !ok {
			t.Fatal("the head is none")
		}
		first := make([]byte, frameHeaderSize+512)
		first[3] = 1
		want.setSum(first, want.sum.add(want.order, first[:8]).add(want.order, first[frameHeaderSize:]))
		for bit := range len(head) * 8 {
			head[bit/8] ^= 1 << (bit % 8)
			if got, found := mendLogHeader(head, 512, first); found != bitrot.Mended || got != want {
				t.Fatalf("bit %d of %x: got %v, %v", bit, head, got, found)
			}
			if got, found := mendLogHeader(head, 512, nil); found == bitrot.Lost {
				ambiguous++
			} else if got != want {
				t.Fatalf("bit %d of %x, without a frame: got %v", bit, head, got)
			}
			head[bit/8] ^= 1 << (bit % 8)
		}
	}
	if t.Logf("%d bits look like others", ambiguous); ambiguous == 0 {
		t.Error("no bit looked like another")
	}
}

func FuzzTreePage(f *testing.F) {
	page := make([]byte, 512)
	copy(page, []byte{kindTableLeaf, 0, 0, 0, 1, 0, 14, 0, 0, 0, 4, 9, 3, 1, 23, 'a'})
	f.Add(page, uint32(2))
	f.Fuzz(func(_ *testing.T, data []byte, n uint32) {
		p, err := parseTree(data, n)
		if err != nil {
			return
		}
		p.children()
		for i := range p.cells {
			if c, ok, err := p.cell(i); ok && err == nil {
				b, err := c.payload(len(data), func(uint32) ([]byte, error) { return data, nil })
				if err == nil {
					_, _ = parseRecord(b)
				}
			}
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte{3, 1, 23, 7, 'h', 'e', 'l', 'l', 'o'})
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parseRecord(b) })
}

func FuzzSidecars(f *testing.F) {
	m := mark{frames: 3}
	f.Add(m.marshal())
	f.Add((&sumsHeader{pageSize: 4096}).marshal())
	f.Fuzz(func(_ *testing.T, b []byte) {
		parseMark(bytes.Clone(b))
		parseSumsHeader(bytes.Clone(b))
		parseIndex(b)
	})
}

func FuzzLog(f *testing.F) {
	f.Add(make([]byte, 32+536), uint32(1))
	f.Fuzz(func(t *testing.T, b []byte, promised uint32) {
		log, err := readLog(bytes.NewReader(b), int64(len(b)), 512, mark{frames: promised % 100, pages: 5}, copied{})
		if err != nil {
			t.Fatal(err)
		}
		if log.frames > len(b)/(frameHeaderSize+512) {
			t.Fatalf("%d frames in %d bytes", log.frames, len(b))
		}
	})
}
