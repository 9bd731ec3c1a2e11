package resp

import (
	"io"
	"sync"
)

const (
	blockBytes = 16 << 10 // what is read at once
	smallBytes = 1 << 10  // what a connection keeps for a frame of which only the beginning came
)

// block is a buffer for input, with a slice for the arguments found in it.
type block struct {
	b    []byte
	args [][]byte
}

// blocks lets a connection own a buffer only while bytes of it are unread: an idle one has none.
var blocks = sync.Pool{New: func() any {
	return &block{b: make([]byte, blockBytes), args: make([][]byte, 0, 16)}
}}

func putBlock(k *block) {
	if len(k.b) == blockBytes {
		blocks.Put(k)
	}
}

// intake is the input of a connection; it belongs to the reader goroutine.
type intake struct {
	buf  *block // nil while nothing is unread
	r, w int    // buf.b[r:w] is unread

	frame  framer // of the frame at r
	since  int64  // server time of the first byte of an incomplete frame, 0: none
	parked bool   // the frame at r was refused by the handler for now
	held   int    // bytes of commands since last no reply was outstanding
	fault  error  // what is wrong with the frame at r
	armed  int64  // the read deadline that is set, server time; 0: none
	stale  bool   // armed does not tell: somebody kicked

	readFn, goneFn func(fd uintptr) bool // made once, so that a read allocates nothing
	n              int                   // what readFn read
	err            error
}

func (in *intake) unread() int { return in.w - in.r }

// readNow reads what is there; false sleeps until there is more.
func (in *intake) readNow(fd uintptr) bool {
	in.room()
	n, again, err := readFD(fd, in.buf.b[in.w:])
	if again {
		in.settle() // sleep without a buffer
		return false
	}
	in.n, in.err = n, err
	in.w += n
	if n == 0 && err == nil {
		in.err = io.EOF
	}
	return true
}

// consume drops the frame at r, of n bytes.
func (in *intake) consume(n int) {
	if in.r += n; in.r == in.w {
		in.r, in.w = 0, 0
	}
	in.frame, in.since, in.parked = framer{}, 0, false
}

// settle gives the buffer back, or exchanges it for a small one when little is in it.
func (in *intake) settle() {
	n := in.unread()
	switch {
	case in.buf == nil:
	case n == 0:
		in.release()
	case len(in.buf.b) == blockBytes && n <= smallBytes/2:
		small := &block{b: make([]byte, smallBytes)}
		copy(small.b, in.buf.b[in.r:in.w])
		putBlock(in.buf)
		in.buf, in.r, in.w = small, 0, n
	}
}

func (in *intake) release() {
	if in.buf != nil {
		putBlock(in.buf)
	}
	in.buf, in.r, in.w = nil, 0, 0
}

// room makes place for at least one more byte. Bytes are moved to the front only where at least as many were
// consumed, so that each is moved a bounded number of times whatever the sizes of reads and frames.
func (in *intake) room() {
	switch {
	case in.buf == nil:
		in.buf = blocks.Get().(*block)
	case in.w < len(in.buf.b):
	case in.r >= in.unread():
		copy(in.buf.b, in.buf.b[in.r:in.w])
		in.r, in.w = 0, in.unread()
	default:
		in.grow()
	}
}

// grow doubles the buffer. A pooled block keeps its arguments' slice when it goes back.
func (in *intake) grow() {
	old := in.buf
	size := 2 * len(old.b)
	if size == blockBytes {
		in.buf = blocks.Get().(*block)
	} else {
		in.buf = &block{b: make([]byte, size)}
	}
	in.r, in.w = 0, copy(in.buf.b, old.b[in.r:in.w])
	putBlock(old)
}
