package framing

import (
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/byway-chat/byway/rendezvous"
)

// chunks is a stream whose Reads end where the given pieces end.
type chunks struct {
	pieces [][]byte
	before func()
}

func (c *chunks) Read(p []byte) (int, error) {
	c.before()
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

func TestReaderReadsWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(0, 40_000), 1, 20).Draw(t, "sizes")
		var all []byte
		ends := map[int]bool{0: true}
		for _, n := range sizes {
			var err error
			if all, err = rendezvous.AppendFrame(all, submit(n)); err != nil {
				t.Fatal(err)
			}
			ends[len(all)] = true
		}
		s := &chunks{}
		for rest := all; len(rest) > 0; {
			n := min(len(rest), rapid.IntRange(1, 70_000).Draw(t, "piece"))
			s.pieces, rest = append(s.pieces, rest[:n]), rest[n:]
		}
		r := NewReader(s)
		s.before = func() {
			left := 0
			for _, p := range s.pieces {
				left += len(p)
			}
			if ends[len(all)-left] && r.buf != nil {
				t.Fatal("it waits for the next frame with a buffer")
			}
		}
		for i, want := range sizes {
			frame, err := r.Next()
			if err != nil {
				t.Fatalf("frame %d: %v", i, err)
			}
			f, err := rendezvous.ParseFrame(frame)
			if err != nil || len(f.GetSubmit().GetEnvelope()) != want {
				t.Fatalf("frame %d: got %d bytes and %v, want %d", i, len(f.GetSubmit().GetEnvelope()), err, want)
			}
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) || r.buf != nil {
			t.Fatalf("at the end: got %v, want EOF; buffer %v", err, r.buf)
		}
	})
}

func TestReaderErrors(t *testing.T) {
	frame, err := rendezvous.AppendFrame(nil, submit(1000))
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	tests := []struct {
		name   string
		stream io.Reader
		want   error
	}{
		{"nothing", &chunks{before: func() {}}, io.EOF},
		{"a failing stream", iotest.ErrReader(broken), broken},
		{"a cut frame", &chunks{pieces: [][]byte{frame[:500]}, before: func() {}}, io.ErrUnexpectedEOF},
		{"a length over the bound", &chunks{pieces: [][]byte{{0xff, 0xff, 0xff, 0x7f}}, before: func() {}}, rendezvous.ErrFrameTooLarge},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := NewReader(tc.stream)
			if _, err := r.Next(); !errors.Is(err, tc.want) || r.buf != nil {
				t.Errorf("got %v, want %v; buffer %v", err, tc.want, r.buf)
			}
		})
	}
}
