package rendezvous

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// ErrFrameTooLarge is returned for a frame whose announced or encoded length is over [MaxFrame].
var ErrFrameTooLarge = errors.New("frame is over the size limit")

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
