package peer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// frameHead is the length (4 bytes, of type and payload) and the type.
const frameHead = 5

// keepBuffer is the largest buffer that is kept for the next frame or write.
const keepBuffer = 256 << 10

// MaxType is the highest type of a frame of the user's; those above are the link's own.
const MaxType = 0xef

const (
	frameRequest byte = 0xf0 + iota
	frameAnswer
	framePing
)

func appendFrameHead(b []byte, typ byte, size int) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(1+size)), typ)
}

// frameReader reads frames one after the other; it never holds more than one of the largest.
type frameReader struct {
	r   *bufio.Reader
	max int
	buf []byte
}

func newFrameReader(r io.Reader, maxFrame int) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, 64<<10), max: maxFrame}
}

// next returns a frame; payload is valid until the next call. io.EOF comes between frames only.
func (f *frameReader) next() (typ byte, payload []byte, err error) {
	head, err := f.r.Peek(frameHead)
	if err != nil {
		if errors.Is(err, io.EOF) && len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head)
	typ = head[4]
	switch {
	case size == 0:
		return 0, nil, fmt.Errorf("%w: an empty frame", ErrProtocol)
	case size-1 > uint32(f.max):
		return 0, nil, fmt.Errorf("%w: %d bytes of payload announced, %d allowed", ErrTooBig, size-1, f.max)
	}
	if _, err = f.r.Discard(frameHead); err != nil {
		return 0, nil, err
	}
	payload, err = f.body(int(size - 1))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return typ, payload, err
}

func (f *frameReader) body(n int) ([]byte, error) {
	if cap(f.buf) > keepBuffer {
		f.buf = nil
	}
	if n <= f.r.Size() {
		// In place: the bytes stay where they are until the next Peek.
		b, err := f.r.Peek(n)
		if err != nil {
			return nil, err
		}
		_, err = f.r.Discard(n)
		return b, err
	}
	if cap(f.buf) < n {
		f.buf = make([]byte, n)
	}
	b := f.buf[:n]
	_, err := io.ReadFull(f.r, b)
	return b, err
}
