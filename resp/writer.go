package resp

import (
	"math"
	"strconv"
	"sync"

	"github.com/tidwall/redcon"
)

// Writer appends replies to a connection's output, as RESP2 or, after HELLO 3, as RESP3. The methods for types
// that RESP2 lacks write what Redis writes there. Aggregates (Array, Map, Set, Push) write a header only: the
// caller follows with exactly that many elements.
type Writer struct {
	b      []byte
	proto3 bool
}

// NewWriter returns a writer of its own, not of a connection: for tests and for replies made in advance.
// proto is 2 or 3.
func NewWriter(proto int) *Writer { return &Writer{proto3: proto == 3} }

// Bytes returns what was written so far; valid until the next write.
func (w *Writer) Bytes() []byte { return w.b }

// Proto returns 2 or 3.
func (w *Writer) Proto() int {
	if w.proto3 {
		return 3
	}
	return 2
}

// Int writes an integer.
func (w *Writer) Int(n int64) { w.b = redcon.AppendInt(w.b, n) }

// Uint writes an unsigned integer. Clients read signed 64 bits, so it should be below 2^63.
func (w *Writer) Uint(n uint64) { w.b = redcon.AppendUint(w.b, n) }

// Simple writes a simple string; line ends in it become spaces.
func (w *Writer) Simple(s string) { w.b = redcon.AppendString(w.b, s) }

// OK writes +OK.
func (w *Writer) OK() { w.b = redcon.AppendOK(w.b) }

// Error writes an error: a code in capitals, then a sentence (may be empty). Line ends and other control
// characters in the sentence become spaces, so that a key in it cannot forge a reply.
func (w *Writer) Error(code, sentence string) {
	w.b = append(w.b, '-')
	w.b = appendLine(w.b, code)
	if sentence != "" {
		w.b = append(w.b, ' ')
		w.b = appendLine(w.b, sentence)
	}
	w.b = append(w.b, '\r', '\n')
}

// appendLine appends s with its control characters made spaces.
func appendLine(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == 0x7f {
			b = append(b, ' ')
		} else {
			b = append(b, c)
		}
	}
	return b
}

// Bulk writes a string of any bytes. A nil slice is the empty string; see Null.
func (w *Writer) Bulk(p []byte) { w.b = redcon.AppendBulk(w.b, p) }

// BulkString is Bulk for a string.
func (w *Writer) BulkString(s string) { w.b = redcon.AppendBulkString(w.b, s) }

// Null writes the absence of a value.
func (w *Writer) Null() {
	if w.proto3 {
		w.b = append(w.b, '_', '\r', '\n')
		return
	}
	w.b = redcon.AppendNull(w.b)
}

// NullArray writes the absence of an array, which RESP2 tells from that of a string.
func (w *Writer) NullArray() {
	if w.proto3 {
		w.Null()
		return
	}
	w.b = append(w.b, '*', '-', '1', '\r', '\n')
}

// Array starts an array of n elements.
func (w *Writer) Array(n int) { w.b = redcon.AppendArray(w.b, n) }

// Map starts a map of n pairs: key, value, key, value. RESP2: an array of 2n.
func (w *Writer) Map(n int) { w.head('%', n, 2) }

// Set starts a set of n elements. RESP2: an array.
func (w *Writer) Set(n int) { w.head('~', n, 1) }

// Push starts an out-of-band message of n elements, the first of them its kind. RESP2: an array, which only a
// subscribed client expects.
func (w *Writer) Push(n int) { w.head('>', n, 1) }

func (w *Writer) head(kind byte, n, flat int) {
	if !w.proto3 {
		w.b = redcon.AppendArray(w.b, n*flat)
		return
	}
	w.b = append(w.b, kind)
	w.b = strconv.AppendInt(w.b, int64(n), 10)
	w.b = append(w.b, '\r', '\n')
}

// Bool writes true or false. RESP2: 1 or 0.
func (w *Writer) Bool(v bool) {
	switch {
	case w.proto3 && v:
		w.b = append(w.b, '#', 't', '\r', '\n')
	case w.proto3:
		w.b = append(w.b, '#', 'f', '\r', '\n')
	case v:
		w.Int(1)
	default:
		w.Int(0)
	}
}

// Double writes a floating point number. RESP2: a string.
func (w *Writer) Double(f float64) {
	var tmp [32]byte
	s := tmp[:0]
	switch {
	case math.IsInf(f, 1):
		s = append(s, "inf"...)
	case math.IsInf(f, -1):
		s = append(s, "-inf"...)
	case math.IsNaN(f):
		s = append(s, "nan"...)
	default:
		s = strconv.AppendFloat(s, f, 'g', -1, 64)
	}
	if !w.proto3 {
		w.Bulk(s)
		return
	}
	w.b = append(w.b, ',')
	w.b = append(w.b, s...)
	w.b = append(w.b, '\r', '\n')
}

// Verbatim writes text that is shown as it is; format has three bytes: "txt" or "mkd". RESP2: a string.
func (w *Writer) Verbatim(format, text string) {
	if !w.proto3 {
		w.BulkString(text)
		return
	}
	w.b = append(w.b, '=')
	w.b = strconv.AppendInt(w.b, int64(len(format)+1+len(text)), 10)
	w.b = append(w.b, '\r', '\n')
	w.b = append(w.b, format...)
	w.b = append(w.b, ':')
	w.b = append(w.b, text...)
	w.b = append(w.b, '\r', '\n')
}

// Raw writes bytes that are RESP already, such as those of a Writer made in advance.
func (w *Writer) Raw(p []byte) { w.b = append(w.b, p...) }

const (
	writerBytes = 1 << 10  // what a new output buffer has
	keepBytes   = 64 << 10 // a larger output buffer goes to the garbage collector, not back to the pool
)

// writers lets idle connections own no output buffer at all.
var writers = sync.Pool{New: func() any { return &Writer{b: make([]byte, 0, writerBytes)} }}

func getWriter() *Writer { return writers.Get().(*Writer) }

func putWriter(w *Writer) {
	if cap(w.b) > keepBytes {
		return
	}
	w.b = w.b[:0]
	writers.Put(w)
}
