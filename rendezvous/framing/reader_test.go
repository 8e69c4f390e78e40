package framing

import (
	"bytes"
	"encoding/binary"
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
		size := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 40_000))
		sizes := rapid.SliceOfN(size, 1, 40).Draw(t, "sizes")
		var all []byte
		var frames [][]byte
		ends := map[int]bool{0: true}
		for i, n := range sizes {
			before := len(all)
			var err error
			if all, err = rendezvous.AppendFrame(all, submit(n)); err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				all[len(all)-1] = byte(i)
			}
			_, prefix := binary.Uvarint(all[before:])
			frames = append(frames, all[before+prefix:len(all):len(all)])
			ends[len(all)] = true
		}
		s := &chunks{}
		piece := rapid.OneOf(rapid.IntRange(1, 500), rapid.IntRange(1, 70_000))
		for rest := all; len(rest) > 0; {
			n := min(len(rest), piece.Draw(t, "piece"))
			s.pieces, rest = append(s.pieces, bytes.Clone(rest[:n])), rest[n:]
		}
		r := NewReader(s)
		s.before = func() {
			left := 0
			for _, p := range s.pieces {
				left += len(p)
			}
			// A read that has filled the few bytes promises more, though it may end where a frame does.
			if ends[len(all)-left] && r.large != nil && r.last < busyRead && r.last != firstBytes {
				t.Fatal("it waits for the next frame of a quiet stream with a buffer")
			}
		}
		var batch [][]byte // what must still be what it was
		for i := range sizes {
			frame, err := r.Next()
			if err != nil {
				t.Fatalf("frame %d: %v", i, err)
			}
			if batch = append(batch, frame); r.More() {
				continue
			}
			for k, frame := range batch {
				if want := frames[i+1-len(batch)+k]; !bytes.Equal(frame, want) {
					t.Fatalf("frame %d is not what was written", i+1-len(batch)+k)
				}
			}
			batch = nil
		}
		if _, err := r.Next(); !errors.Is(err, io.EOF) || r.large != nil {
			t.Fatalf("at the end: got %v, want EOF; buffer %v", err, r.large)
		}
	})
}

// A stream that says nothing more after much has been read costs no buffer after its next heartbeat.
func TestReaderBecomesQuiet(t *testing.T) {
	frame, err := rendezvous.AppendFrame(nil, submit(100))
	if err != nil {
		t.Fatal(err)
	}
	s := &chunks{pieces: [][]byte{bytes.Repeat(frame, 200), bytes.Repeat(frame, 200), frame}, before: func() {}}
	r := NewReader(s)
	for i := range 401 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if i == 399 && r.large == nil {
			t.Error("a busy stream is read through a few bytes")
		}
	}
	s.before = func() {
		if r.large != nil {
			t.Error("a quiet stream is waited for with a buffer")
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
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
			if _, err := r.Next(); !errors.Is(err, tc.want) || r.large != nil {
				t.Errorf("got %v, want %v; buffer %v", err, tc.want, r.large)
			}
		})
	}
}

// What Next has returned stays what it was also when the next frame turns out to be none: the buffer must not go to another Reader then.
func TestReaderKeepsABatchBeforeAnError(t *testing.T) {
	frame, err := rendezvous.AppendFrame(nil, submit(1000))
	if err != nil {
		t.Fatal(err)
	}
	wire := append(bytes.Repeat(frame, 3), 0xff, 0xff, 0xff, 0x7f)
	r := NewReader(&chunks{pieces: [][]byte{frame, wire}, before: func() {}})
	var batch [][]byte
	for range 4 {
		got, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, got)
	}
	if !r.More() {
		t.Fatal("the error behind the frames is not seen")
	}
	if _, err := r.Next(); !errors.Is(err, rendezvous.ErrFrameTooLarge) {
		t.Fatalf("got %v, want %v", err, rendezvous.ErrFrameTooLarge)
	}
	// Whoever reads next would write into it.
	for range 10 {
		clear(readBuffers.Get().(*buffer).b)
	}
	_, prefix := binary.Uvarint(frame)
	for i, got := range batch[1:] {
		if !bytes.Equal(got, frame[prefix:]) {
			t.Errorf("frame %d has changed", i+1)
		}
	}
}
