package resp

import "bytes"

// splitInline splits a line, as typed into telnet, into words by Redis's rules: words are separated by blanks;
// "..." knows \n \r \t \b \a \xHH and \ before any other byte; '...' knows \' only; after a closing quote comes a
// blank or the end. The words are parts of line, or of one copy if there is something to unescape: line itself
// stays as it is, because a parked command is split again later.
func splitInline(line []byte, args [][]byte) ([][]byte, error) {
	args = args[:0]
	var text []byte
	if bytes.IndexByte(line, '"') >= 0 || bytes.IndexByte(line, '\'') >= 0 {
		text = make([]byte, 0, len(line)) // unescaping never makes longer, so text is never moved
	}
	for {
		for len(line) > 0 && blank(line[0]) {
			line = line[1:]
		}
		if len(line) == 0 {
			return args, nil
		}
		if text == nil {
			n := 0
			for n < len(line) && !blank(line[n]) {
				n++
			}
			args, line = append(args, line[:n]), line[n:]
			continue
		}
		start := len(text)
		var ok bool
		if text, line, ok = word(text, line); !ok {
			return args[:0], errQuotes
		}
		args = append(args, text[start:len(text):len(text)])
	}
}

func blank(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\v' || c == '\f' || c == '\r' || c == 0
}

// word appends the first word of line to text and returns the rest of line.
func word(text, line []byte) (_, rest []byte, ok bool) {
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case blank(c):
			return text, line[i:], true
		case c == '"' || c == '\'':
			var n int
			if text, n, ok = quoted(text, line[i:]); !ok {
				return text, nil, false
			}
			rest = line[i+n:]
			return text, rest, len(rest) == 0 || blank(rest[0])
		default:
			text = append(text, c)
		}
	}
	return text, nil, true
}

// quoted appends what stands between the quote at the start of line and the same one at its end, and returns
// how many bytes of line that took.
func quoted(text, line []byte) (_ []byte, n int, ok bool) {
	quote := line[0]
	for i := 1; i < len(line); i++ {
		c := line[i]
		switch {
		case c == quote:
			return text, i + 1, true
		case c == '\\' && quote == '\'' && i+1 < len(line) && line[i+1] == '\'':
			text = append(text, '\'')
			i++
		case c == '\\' && quote == '"' && i+3 < len(line) && line[i+1] == 'x' && hex(line[i+2]) >= 0 && hex(line[i+3]) >= 0:
			text = append(text, byte(hex(line[i+2])<<4|hex(line[i+3])))
			i += 3
		case c == '\\' && quote == '"' && i+1 < len(line):
			i++
			text = append(text, unescape(line[i]))
		default:
			text = append(text, c)
		}
	}
	return text, 0, false
}

func unescape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	default:
		return c
	}
}

func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	default:
		return -1
	}
}
