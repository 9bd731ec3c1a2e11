package commands

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
)

// value is one reply off the wire.
type value struct {
	kind  byte // the first byte of the reply; _ for RESP2's nulls too
	text  string
	elems []value
}

// String prints a reply on one line: :7 +OK -ERR x "bulk" _ [a b] {k v} ~[a] txt"...".
func (v value) String() string {
	switch v.kind {
	case '$':
		return strconv.Quote(v.text)
	case '=':
		return "txt" + strconv.Quote(v.text)
	case '*', '~', '>', '%':
		parts := make([]string, len(v.elems))
		for i, e := range v.elems {
			parts[i] = e.String()
		}
		body := strings.Join(parts, " ")
		switch v.kind {
		case '*':
			return "[" + body + "]"
		case '%':
			return "{" + body + "}"
		}
		return string(v.kind) + "[" + body + "]"
	}
	return string(v.kind) + v.text
}

type wireReader struct{ b *bufio.Reader }

func newWireReader(r io.Reader) *wireReader { return &wireReader{bufio.NewReader(r)} }

func (r *wireReader) line() (string, error) {
	s, err := r.b.ReadString('\n')
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(s, "\r\n") {
		return "", fmt.Errorf("line without CR: %q", s)
	}
	return s[:len(s)-2], nil
}

func (r *wireReader) read() (value, error) {
	line, err := r.line()
	if err != nil {
		return value{}, err
	}
	if line == "" {
		return value{}, fmt.Errorf("empty line")
	}
	v := value{kind: line[0], text: line[1:]}
	switch v.kind {
	case '+', '-', ':', '_', '#', ',':
		return v, nil
	}
	n, err := strconv.Atoi(v.text)
	if err != nil {
		return value{}, fmt.Errorf("bad length in %q", line)
	}
	if n < 0 {
		return value{kind: '_'}, nil
	}
	switch v.kind {
	case '$', '=':
		body := make([]byte, n+2)
		if _, err := io.ReadFull(r.b, body); err != nil {
			return value{}, err
		}
		v.text = string(body[:n])
		return v, nil
	case '%':
		n *= 2
	case '*', '~', '>':
	default:
		return value{}, fmt.Errorf("unknown type in %q", line)
	}
	v.text = ""
	for range n {
		e, err := r.read()
		if err != nil {
			return value{}, err
		}
		v.elems = append(v.elems, e)
	}
	return v, nil
}

// splitLine splits a typed line at blanks; "..." has Go's escapes.
func splitLine(t testing.TB, line string) []string {
	t.Helper()
	var args []string
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimLeft(rest, " ") {
		if rest[0] == '"' {
			q, err := strconv.QuotedPrefix(rest)
			if err != nil {
				t.Fatalf("bad quotes in %s", line)
			}
			s, _ := strconv.Unquote(q)
			args, rest = append(args, s), rest[len(q):]
			continue
		}
		word, after, _ := strings.Cut(rest, " ")
		args, rest = append(args, word), after
	}
	return args
}

func byteArgs(args []string) [][]byte {
	out := make([][]byte, len(args))
	for i, a := range args {
		out[i] = []byte(a)
	}
	return out
}
