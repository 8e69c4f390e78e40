package framing

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/byway-chat/byway/rendezvous"
)

func TestNextFrameReadsWhatWasAppended(t *testing.T) {
	var wire []byte
	sent := []*rendezvous.Frame{
		{Id: 1, Body: &rendezvous.Frame_Ping{Ping: &rendezvous.Ping{}}},
		{Id: 2, Body: &rendezvous.Frame_Submit{Submit: &rendezvous.Submit{Device: []byte("d"), Envelope: bytes.Repeat([]byte{7}, rendezvous.MaxEnvelope)}}},
		{},
	}
	for _, f := range sent {
		var err error
		if wire, err = rendezvous.AppendFrame(wire, f); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(bytes.NewReader(wire))
	for i, want := range sent {
		got, err := r.NextFrame()
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, want) {
			t.Errorf("frame %d came back as %v", i, got)
		}
	}
	if _, err := r.NextFrame(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last frame: %v, want io.EOF", err)
	}
}

func TestNextFrameRefuses(t *testing.T) {
	huge := func(n uint64) []byte { return binary.AppendUvarint(nil, n) }
	for _, tc := range []struct {
		name string
		wire []byte
		want error // nil: any
	}{
		{"one byte too many", huge(rendezvous.MaxFrame + 1), rendezvous.ErrFrameTooLarge},
		{"2^31", huge(1 << 31), rendezvous.ErrFrameTooLarge},
		{"2^63", huge(1 << 63), rendezvous.ErrFrameTooLarge},
		{"overlong varint", bytes.Repeat([]byte{0xff}, 11), nil},
		{"cut in the length", []byte{0x80}, io.ErrUnexpectedEOF},
		{"nothing after the length", []byte{5}, io.ErrUnexpectedEOF},
		{"cut in the body", []byte{5, 8, 1}, io.ErrUnexpectedEOF},
		{"not protobuf", []byte{3, 0xff, 0xff, 0xff}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := NewReader(bytes.NewReader(tc.wire)).NextFrame()
			if err == nil || errors.Is(err, io.EOF) || (tc.want != nil && !errors.Is(err, tc.want)) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestNextFrameAllocatesNothingForAHugeLength(t *testing.T) {
	wire := binary.AppendUvarint(nil, 1<<31)
	if n := testing.AllocsPerRun(10, func() {
		r := NewReader(bytes.NewReader(wire))
		if _, err := r.NextFrame(); err == nil || r.large != nil {
			t.Fatal("accepted")
		}
	}); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzNextFrame(f *testing.F) {
	for _, frame := range []*rendezvous.Frame{
		{},
		{Id: 9, Body: &rendezvous.Frame_Ping{Ping: &rendezvous.Ping{}}},
		{Id: 1, Body: &rendezvous.Frame_Hello{Hello: &rendezvous.Hello{Version: 1}}},
		{Body: &rendezvous.Frame_Lookup{Lookup: &rendezvous.Lookup{Usernames: []string{"bob"}}}},
	} {
		b, err := rendezvous.AppendFrame(nil, frame)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		frame, err := NewReader(bytes.NewReader(wire)).NextFrame()
		if err != nil {
			return
		}
		again, err := rendezvous.AppendFrame(nil, frame)
		if err != nil {
			t.Fatalf("a frame that was read cannot be written: %v", err)
		}
		back, err := NewReader(bytes.NewReader(again)).NextFrame()
		if err != nil || !proto.Equal(back, frame) {
			t.Fatalf("%v came back as %v, %v", frame, back, err)
		}
	})
}
