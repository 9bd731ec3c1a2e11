package harness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Kind is the type of a reply: the byte that starts it on the wire.
type Kind byte

// The kinds. RESP2's null bulk and null array are Null.
const (
	Simple   Kind = '+'
	Error    Kind = '-'
	Int      Kind = ':'
	Bulk     Kind = '$'
	Array    Kind = '*'
	Null     Kind = '_'
	Bool     Kind = '#'
	Double   Kind = ','
	Verbatim Kind = '='
	Map      Kind = '%'
	Set      Kind = '~'
	Push     Kind = '>'
)

// Value is one reply.
type Value struct {
	Kind  Kind
	Int   int64   // of Int, and 0 or 1 of Bool
	Text  string  // of Simple, Error, Bulk, Double, Verbatim (with its three letters)
	Items []Value // of Array, Set, Push; of Map: key, value, key, value
}

// Code is the first word of an error; "" of anything else.
func (v Value) Code() string {
	if v.Kind != Error {
		return ""
	}
	code, _, _ := strings.Cut(v.Text, " ")
	return code
}

// Field returns a field of a map, or of an array that stands for one in RESP2.
func (v Value) Field(name string) (Value, bool) {
	for i := 0; i+1 < len(v.Items); i += 2 {
		if v.Items[i].Text == name {
			return v.Items[i+1], true
		}
	}
	return Value{}, false
}

// String writes a value the way that stories do: `:5`, `+OK`, `"bulk"`, `-CODE text`, `[:1 :2]`, `{key=:1}`, `_`.
func (v Value) String() string {
	switch v.Kind {
	case Int:
		return ":" + strconv.FormatInt(v.Int, 10)
	case Bool:
		return "#" + strconv.FormatInt(v.Int, 10)
	case Simple, Error, Double:
		return string(v.Kind) + v.Text
	case Bulk, Verbatim:
		return strconv.Quote(v.Text)
	case Array, Set, Push:
		parts := make([]string, len(v.Items))
		for i, item := range v.Items {
			parts[i] = item.String()
		}
		prefix := ""
		if v.Kind != Array {
			prefix = string(v.Kind)
		}
		return prefix + "[" + strings.Join(parts, " ") + "]"
	case Map:
		var parts []string
		for i := 0; i+1 < len(v.Items); i += 2 {
			parts = append(parts, v.Items[i].Text+"="+v.Items[i+1].String())
		}
		return "{" + strings.Join(parts, " ") + "}"
	case Null:
		return "_"
	}
	return fmt.Sprintf("?%c?", v.Kind)
}

// errFrame is a reply that is not RESP.
var errFrame = errors.New("not a RESP reply")

// Bounds of what a server may send to a test: beyond them it is broken.
const (
	maxReplyItems = 1 << 20
	maxReplyBytes = 64 << 20
	maxReplyDepth = 16
)

// ReadValue reads one reply, RESP2 or RESP3, strictly.
func ReadValue(r *bufio.Reader) (Value, error) { return readValue(r, 0) }

func readValue(r *bufio.Reader, depth int) (Value, error) {
	if depth > maxReplyDepth {
		return Value{}, fmt.Errorf("%w: nested deeper than %d", errFrame, maxReplyDepth)
	}
	line, err := readLine(r)
	if err != nil {
		return Value{}, err
	}
	if line == "" {
		return Value{}, fmt.Errorf("%w: empty line", errFrame)
	}
	kind, rest := Kind(line[0]), line[1:]
	switch kind {
	case Simple, Error, Double:
		return Value{Kind: kind, Text: rest}, nil
	case Int:
		n, err := strconv.ParseInt(rest, 10, 64)
		if err != nil {
			return Value{}, fmt.Errorf("%w: integer %q", errFrame, rest)
		}
		return Value{Kind: Int, Int: n}, nil
	case Bool:
		n := strings.Index("ft", rest)
		if len(rest) != 1 || n < 0 {
			return Value{}, fmt.Errorf("%w: boolean %q", errFrame, rest)
		}
		return Value{Kind: Bool, Int: int64(n)}, nil
	case Null:
		return Value{Kind: Null}, nil
	case Bulk, Verbatim:
		return readBulk(r, kind, rest)
	case Array, Set, Push, Map:
		return readItems(r, kind, rest, depth)
	}
	return Value{}, fmt.Errorf("%w: line %.100q", errFrame, line)
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		if err == io.EOF && line != "" {
			return "", io.ErrUnexpectedEOF
		}
		return "", err
	}
	body, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.Contains(body, "\r") {
		return "", fmt.Errorf("%w: line %.100q", errFrame, line)
	}
	return body, nil
}

func readBulk(r *bufio.Reader, kind Kind, length string) (Value, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n < -1 || n > maxReplyBytes {
		return Value{}, fmt.Errorf("%w: length %q", errFrame, length)
	}
	if n == -1 {
		return Value{Kind: Null}, nil
	}
	buf := make([]byte, n+2)
	if _, err := io.ReadFull(r, buf); err != nil {
		return Value{}, err
	}
	if string(buf[n:]) != "\r\n" {
		return Value{}, fmt.Errorf("%w: no line end after %d bytes", errFrame, n)
	}
	return Value{Kind: kind, Text: string(buf[:n])}, nil
}

func readItems(r *bufio.Reader, kind Kind, count string, depth int) (Value, error) {
	n, err := strconv.Atoi(count)
	if err != nil || n < -1 || n > maxReplyItems {
		return Value{}, fmt.Errorf("%w: count %q", errFrame, count)
	}
	if n == -1 {
		return Value{Kind: Null}, nil
	}
	if kind == Map {
		n *= 2
	}
	v := Value{Kind: kind, Items: make([]Value, 0, min(n, 1024))}
	for range n {
		item, err := readValue(r, depth+1)
		if err != nil {
			return Value{}, err
		}
		v.Items = append(v.Items, item)
	}
	return v, nil
}
