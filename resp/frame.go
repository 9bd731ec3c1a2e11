package resp

import (
	"bytes"
	"math"
)

// A kind says how a complete frame is to be read.
type kind uint8

const (
	kindMultibulk kind = iota // "*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n"
	kindInline                // "ECHO hi\r\n"
	kindEmpty                 // "*0\r\n", "*-1\r\n": no command, no reply
)

type frameState uint8

const (
	atHead frameState = iota // the first byte, or within "*2\r\n"
	atLength
	atBulk
	atInline
	atEnd
)

// maxNumberLine is how long a line with a number may get: 20 digits and some patience.
const maxNumberLine = 32

// framer finds the end of the frame that starts at the beginning of the bytes it is shown. It remembers how far
// it got, so that a frame that arrives byte by byte is looked at once, and it is the only judge of lengths and
// counts: what it passes, redcon parses without surprises. After a frame is consumed, the zero framer begins the next.
type framer struct {
	state frameState
	kind  kind
	off   int // where the line or bulk under way starts; at the end: the frame's length
	scan  int // no line end before this
	left  int // bulks still to come
	bulk  int // bytes of the bulk at off
}

// next returns the length of the frame at the start of b, 0 if it is not complete, or a protocol error. Calls for
// the same frame must show at least the bytes shown before; once complete, the answer stays the same.
func (f *framer) next(b []byte, lim frameLimits) (int, error) {
	for {
		switch f.state {
		case atEnd:
			return f.off, nil
		case atHead:
			if len(b) == 0 {
				return 0, nil
			}
			if b[0] != '*' {
				f.state, f.kind = atInline, kindInline
				continue
			}
			if done, err := f.head(b, lim); !done || err != nil {
				return 0, err
			}
		case atInline:
			if done, err := f.inline(b, lim); !done || err != nil {
				return 0, err
			}
		case atLength:
			if done, err := f.length(b, lim); !done || err != nil {
				return 0, err
			}
		case atBulk:
			if done, err := f.body(b); !done || err != nil {
				return 0, err
			}
		}
	}
}

func (f *framer) head(b []byte, lim frameLimits) (bool, error) {
	line, ok, err := f.line(b, errMultibulkLength, errBigMultibulk)
	if !ok || err != nil {
		return false, err
	}
	n, ok := number(line)
	switch {
	case !ok || n > math.MaxInt32:
		return false, errMultibulkLength
	case n <= 0:
		f.state, f.kind = atEnd, kindEmpty
		return true, nil
	case int(n) > lim.args && lim.unauth:
		return false, errUnauthArgs
	case int(n) > lim.args:
		return false, errTooManyArgs(lim.args)
	}
	f.state, f.left = atLength, int(n)
	return true, nil
}

func (f *framer) length(b []byte, lim frameLimits) (bool, error) {
	if len(b) <= f.off {
		return false, nil
	}
	if b[f.off] != '$' {
		return false, errNotDollar(b[f.off])
	}
	line, ok, err := f.line(b, errBulkLength, errBigBulk)
	if !ok || err != nil {
		return false, err
	}
	n, ok := number(line)
	switch {
	case !ok || n < 0 || n > math.MaxInt32:
		return false, errBulkLength
	case int(n) > lim.bulk && lim.unauth:
		return false, errUnauthBulk
	case int(n) > lim.bulk:
		return false, errTooLongBulk(lim.bulk)
	case f.off+int(n)+2 > lim.frame: // both are far below the overflow of an int
		return false, errTooLongFrame(lim.frame)
	}
	f.state, f.bulk = atBulk, int(n)
	return true, nil
}

func (f *framer) body(b []byte) (bool, error) {
	end := f.off + f.bulk
	if len(b) < end+2 {
		return false, nil
	}
	if b[end] != '\r' || b[end+1] != '\n' {
		return false, errBulkEnd
	}
	f.off = end + 2
	f.left--
	if f.left == 0 {
		f.state = atEnd
	} else {
		f.state = atLength
	}
	return true, nil
}

// line returns the number line at off without its kind byte and line end, and moves off behind it. ok is false
// while it is not complete.
func (f *framer) line(b []byte, bad, big protocolError) (line []byte, ok bool, err error) {
	from := max(f.scan, f.off)
	upto := min(len(b), f.off+maxNumberLine)
	i := bytes.IndexByte(b[from:upto], '\n')
	if i < 0 {
		f.scan = upto
		if upto-f.off >= maxNumberLine {
			return nil, false, big
		}
		return nil, false, nil
	}
	end := from + i
	if end == f.off+1 || b[end-1] != '\r' {
		return nil, false, bad
	}
	line = b[f.off+1 : end-1]
	f.off = end + 1
	return line, true, nil
}

func (f *framer) inline(b []byte, lim frameLimits) (bool, error) {
	upto := min(len(b), lim.inline+2) // the line end is not counted
	if f.scan < upto {
		if i := bytes.IndexByte(b[f.scan:upto], '\n'); i >= 0 {
			f.state, f.off = atEnd, f.scan+i+1
			return true, nil
		}
		f.scan = upto
	}
	if upto >= lim.inline+2 {
		return false, errBigInline
	}
	return false, nil
}

// number reads a decimal number as Redis does: a minus sign or none, no plus, no spaces, no leading zeros, and
// no more than 64 bits.
func number(line []byte) (n int64, ok bool) {
	neg := len(line) > 0 && line[0] == '-'
	if neg {
		line = line[1:]
	}
	if len(line) == 0 || len(line) > 19 || (line[0] == '0' && (len(line) > 1 || neg)) {
		return 0, false
	}
	for _, c := range line {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n > (math.MaxInt64-int64(c-'0'))/10 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if neg {
		n = -n
	}
	return n, true
}
