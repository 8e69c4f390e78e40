package rendezvous

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
)

func TestFramesRoundTrip(t *testing.T) {
	var wire []byte
	sent := []*Frame{
		{Id: 1, Body: &Frame_Ping{Ping: &Ping{}}},
		{Id: 2, Body: &Frame_Submit{Submit: &Submit{Device: []byte("d"), Envelope: bytes.Repeat([]byte{7}, MaxEnvelope)}}},
		{},
	}
	for _, f := range sent {
		var err error
		if wire, err = AppendFrame(wire, f); err != nil {
			t.Fatal(err)
		}
	}
	r := bufio.NewReader(bytes.NewReader(wire))
	for i, want := range sent {
		got, err := ReadFrame(r)
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, want) {
			t.Errorf("frame %d came back as %v", i, got)
		}
	}
	if _, err := ReadFrame(r); !errors.Is(err, io.EOF) {
		t.Errorf("after the last frame: %v, want io.EOF", err)
	}
}

func TestFrameGolden(t *testing.T) {
	f := &Frame{Id: 7, Body: &Frame_Lookup{Lookup: &Lookup{Usernames: []string{"bob"}}}}
	b, err := AppendFrame(nil, f)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(b), "0a"+"0807"+"fa0105"+"0a03626f62"; got != want { // length, id, lookup, name
		t.Errorf("the frame is %s, want %s", got, want)
	}
}

func TestReadFrameRefuses(t *testing.T) {
	huge := func(n uint64) []byte { return binary.AppendUvarint(nil, n) }
	for _, tc := range []struct {
		name string
		wire []byte
		want error // nil: any
	}{
		{"one byte too many", huge(MaxFrame + 1), ErrFrameTooLarge},
		{"2^31", huge(1 << 31), ErrFrameTooLarge},
		{"2^63", huge(1 << 63), ErrFrameTooLarge},
		{"overlong varint", bytes.Repeat([]byte{0xff}, 11), nil},
		{"cut in the length", []byte{0x80}, io.ErrUnexpectedEOF},
		{"nothing after the length", []byte{5}, io.ErrUnexpectedEOF},
		{"cut in the body", []byte{5, 8, 1}, io.ErrUnexpectedEOF},
		{"not protobuf", []byte{3, 0xff, 0xff, 0xff}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ReadFrame(bufio.NewReader(bytes.NewReader(tc.wire)))
			if err == nil || errors.Is(err, io.EOF) || (tc.want != nil && !errors.Is(err, tc.want)) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestReadFrameAllocatesNothingForAHugeLength(t *testing.T) {
	wire := binary.AppendUvarint(nil, 1<<31)
	r := bufio.NewReader(nil)
	if n := testing.AllocsPerRun(10, func() {
		r.Reset(bytes.NewReader(wire))
		if _, err := ReadFrame(r); err == nil {
			t.Fatal("accepted")
		}
	}); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func TestAppendFrameRefusesWhatIsTooLarge(t *testing.T) {
	before := []byte("kept")
	b, err := AppendFrame(before, &Frame{Body: &Frame_Submit{Submit: &Submit{Envelope: make([]byte, MaxFrame)}}})
	if !errors.Is(err, ErrFrameTooLarge) || string(b) != "kept" {
		t.Errorf("got %d bytes and %v", len(b), err)
	}
}

func TestFailures(t *testing.T) {
	busy := &Error{Code: CodeBusy, Message: "too many at once", RetryAfter: 1500 * time.Millisecond}
	back := FailureOf(fmt.Errorf("log in: %w", busy)).Err()
	if e, ok := errors.AsType[*Error](back); !ok || *e != *busy {
		t.Errorf("came back as %#v", back)
	}
	secret := FailureOf(errors.New("open /secret/path: permission denied"))
	if secret.GetCode() != string(CodeInternal) || strings.Contains(secret.GetMessage(), "secret") {
		t.Errorf("an internal error crosses the wire as %v", secret)
	}
	if e, ok := errors.AsType[*Error]((&Failure{Code: "busy", RetryAfterMs: 1 << 63}).Err()); !ok || e.RetryAfter != time.Hour {
		t.Errorf("a hostile retry time gives %v", e.RetryAfter)
	}
	if got := CodeOf(io.EOF); got != CodeInternal {
		t.Errorf("the code of a foreign error is %s", got)
	}
	if got := (&Error{Code: CodeBanned}).Error(); got != "banned" {
		t.Errorf("an error without a message says %q", got)
	}
}

func FuzzReadFrame(f *testing.F) {
	for _, frame := range []*Frame{{}, {Id: 9, Body: &Frame_Ping{Ping: &Ping{}}}, {Body: &Frame_Lookup{Lookup: &Lookup{Usernames: []string{"bob"}}}}} {
		b, err := AppendFrame(nil, frame)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		frame, err := ReadFrame(bufio.NewReader(bytes.NewReader(wire)))
		if err != nil {
			return
		}
		again, err := AppendFrame(nil, frame)
		if err != nil {
			t.Fatalf("a frame that was read cannot be written: %v", err)
		}
		back, err := ReadFrame(bufio.NewReader(bytes.NewReader(again)))
		if err != nil || !proto.Equal(back, frame) {
			t.Fatalf("%v came back as %v, %v", frame, back, err)
		}
	})
}
