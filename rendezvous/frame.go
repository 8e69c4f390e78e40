package rendezvous

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// ErrFrameTooLarge is returned for a frame whose announced or encoded length is over [MaxFrame].
var ErrFrameTooLarge = errors.New("frame is over the size limit")

// ReadFrame reads one length-prefixed frame. It returns io.EOF only between frames, and [ErrFrameTooLarge] before
// allocating for an oversized one. After any error the stream is out of step and must be reset.
func ReadFrame(r *bufio.Reader) (*Frame, error) {
	size, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if size > MaxFrame {
		return nil, ErrFrameTooLarge
	}
	buf := make([]byte, size)
	if _, err := io.ReadFull(r, buf); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("read frame of %d bytes: %w", size, err)
	}
	return ParseFrame(buf)
}

// ParseFrame parses a frame without its length. The result does not alias it.
func ParseFrame(frame []byte) (*Frame, error) {
	f := new(Frame)
	if err := proto.Unmarshal(frame, f); err != nil {
		return nil, fmt.Errorf("parse frame: %w", err)
	}
	return f, nil
}

// AppendFrame appends f with its length prefix to buf, so that a writer can put many frames into one Write.
func AppendFrame(buf []byte, f *Frame) ([]byte, error) {
	size := proto.Size(f)
	if size > MaxFrame {
		return buf, ErrFrameTooLarge
	}
	buf = binary.AppendUvarint(buf, uint64(size))
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(buf, f)
	if err != nil {
		return buf, fmt.Errorf("encode frame: %w", err)
	}
	return out, nil
}
