package resp

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tidwall/redcon"
)

var roomy = frameLimits{args: 64, bulk: 64 << 10, frame: 128 << 10, inline: 1 << 10}

// parse runs input through framer and split as the reader does, in chunks of the sizes given (then all the rest),
// and returns the commands, quoted, and the error at their end.
func parse(t testing.TB, input []byte, sizes []byte, lim frameLimits) (commands []string, err error) {
	var in intake
	defer in.release()
	for len(input) > 0 {
		n := len(input)
		if len(sizes) > 0 {
			n, sizes = min(n, 1+int(sizes[0])), sizes[1:]
		}
		for n > 0 {
			in.room()
			k := copy(in.buf.b[in.w:], input[:n])
			in.w += k
			n, input = n-k, input[k:]
		}
		for in.unread() > 0 {
			n, err := in.frame.next(in.buf.b[in.r:in.w], lim)
			if err != nil {
				return commands, err
			}
			if n == 0 {
				break
			}
			frame := bytes.Clone(in.buf.b[in.r : in.r+n])
			args, err := in.split(n, lim)
			if err != nil {
				return commands, err
			}
			if !bytes.Equal(frame, in.buf.b[in.r:in.r+n]) {
				t.Fatalf("%q was changed to %q", frame, in.buf.b[in.r:in.r+n])
			}
			check(t, &in, frame, args, lim)
			if len(args) > 0 {
				commands = append(commands, fmt.Sprintf("%q", args))
			}
			in.consume(n)
		}
		in.settle()
	}
	return commands, nil
}

// check holds what passed against what it must be.
func check(t testing.TB, in *intake, frame []byte, args [][]byte, lim frameLimits) {
	switch in.frame.kind {
	case kindMultibulk:
		// Numbers are strict, so a frame is exactly what its arguments are written as.
		again := redcon.AppendArray(nil, len(args))
		for _, a := range args {
			again = redcon.AppendBulk(again, a)
			if len(a) > lim.bulk {
				t.Fatalf("an argument of %d bytes", len(a))
			}
		}
		if !bytes.Equal(again, frame) {
			t.Fatalf("%q is read as %q", frame, args)
		}
	case kindEmpty:
		if len(args) != 0 {
			t.Fatalf("%q is read as %q", frame, args)
		}
	case kindInline:
		if len(bytes.Join(args, nil)) > len(frame) {
			t.Fatalf("%q grew to %q", frame, args)
		}
	}
	if len(args) > lim.args || len(frame) > max(lim.frame, lim.inline+2) {
		t.Fatalf("%d arguments in %d bytes", len(args), len(frame))
	}
}

var corpus = []string{
	"*1\r\n$4\r\nPING\r\n",
	"*2\r\n$4\r\nECHO\r\n$0\r\n\r\nPING\r\n*0\r\n*-1\r\n\r\n*1\r\n$1\r\nx\r\n",
	"*1\r\n$9223372036854775807\r\n",
	"*9223372036854775807\r\n",
	"*-9223372036854775808\r\n",
	"*2000000000\r\n",
	"*1\r\n$18446744073709551617\r\na\r\n",
	"*1\r\n$\r\n\r\n",
	"$9223372036854775807 abc",
	"$4 PING\r\n",
	"*1\r\n$-1\r\n",
	"*1\r\n$00\r\n\r\n",
	"*1\r\n$+1\r\na\r\n",
	"*1_0\r\n",
	"*1\r\r\n$4\r\nPING\r\n",
	"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$2\r\nb\r\n",
	"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
	"ARGS \"a\\x41\\n\" 'b\\'c' d\"e f\"\r\n\"\"\r\n",
	"\"unbalanced\r\n",
	"'a'b\r\n",
	"a\n b \nc\r\n",
	"\x00\xff\r\n\x16\x03\x01\x02\x00\x01\x00",
}

// FuzzFrame: nothing panics, redcon agrees with our framer, and however the input is cut, the commands are the same.
func FuzzFrame(f *testing.F) {
	for _, s := range corpus {
		f.Add([]byte(s), []byte{0, 0, 0, 3, 1, 0, 7})
	}
	f.Add(redcon.AppendBulkString([]byte("*1\r\n"), strings.Repeat("a", 2_000)), []byte{255, 255, 0, 9})
	f.Fuzz(func(t *testing.T, input, sizes []byte) {
		for _, lim := range []frameLimits{roomy, {args: 3, bulk: 10, frame: 40, inline: 20, unauth: true}} {
			whole, err1 := parse(t, input, nil, lim)
			for _, cut := range [][]byte{sizes, make([]byte, min(len(input), 4096))} {
				parts, err2 := parse(t, input, cut, lim)
				if !slices.Equal(whole, parts) || fmt.Sprint(err1) != fmt.Sprint(err2) {
					t.Fatalf("%q\nwhole:  %s %v\npieces: %s %v", input, whole, err1, parts, err2)
				}
			}
			if err1 != nil && !errors.Is(err1, ErrProtocol) {
				t.Fatal(err1)
			}
		}
	})
}

// TestRedconAgrees runs sequences of valid commands through our framer and through redcon alone.
func TestRedconAgrees(t *testing.T) {
	var input []byte
	var want []string
	for i := range 300 {
		input = redcon.AppendArray(input, 1+i%5)
		var args [][]byte
		for j := range 1 + i%5 {
			args = append(args, bytes.Repeat([]byte{byte(i)}, (i*37+j*11)%700))
			input = redcon.AppendBulk(input, args[j])
		}
		want = append(want, fmt.Sprintf("%q", args))
	}
	for _, size := range []byte{0, 1, 63, 255} {
		got, err := parse(t, input, bytes.Repeat([]byte{size}, len(input)), roomy)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("in pieces of %d: %d commands, %v", size+1, len(got), err)
		}
	}
}

// TestDripIsLinear sends large frames byte by byte: with a rescan for each byte this would take hours.
func TestDripIsLinear(t *testing.T) {
	const size = 4 << 20
	lim := frameLimits{args: 8, bulk: size, frame: 2 * size, inline: size}
	multi := redcon.AppendBulk([]byte("*1\r\n"), make([]byte, size))
	line := append(bytes.Repeat([]byte("x"), size-1), '\n')
	for _, input := range [][]byte{multi, line} {
		var f framer
		for i := range input {
			n, err := f.next(input[:i+1], lim)
			if err != nil || (n != 0) != (i == len(input)-1) {
				t.Fatalf("after %d bytes: %d, %v", i+1, n, err)
			}
		}
	}
}

func TestNumber(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "1": 1, "-1": -1, "10": 10, "9223372036854775807": math.MaxInt64, "-9223372036854775807": -math.MaxInt64,
	} {
		if n, ok := number([]byte(s)); !ok || n != want {
			t.Errorf("%q: %d, %v", s, n, ok)
		}
	}
	for _, s := range []string{"", "-", "-0", "00", "01", "+1", " 1", "1 ", "1a", "9223372036854775808", "99999999999999999999"} {
		if n, ok := number([]byte(s)); ok {
			t.Errorf("%q is taken for %d", s, n)
		}
	}
}

func TestSplitInline(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"", `[]`},
		{" \t ", `[]`},
		{"a", `["a"]`},
		{"  lock  k\tLEASE 5 ", `["lock" "k" "LEASE" "5"]`},
		{`"a b" c`, `["a b" "c"]`},
		{`"" ''`, `["" ""]`},
		{`"\x41\x4a\x4A\xzz\n\r\t\b\a\"\\\q"`, `["AJJxzz\n\r\t\b\a\"\\q"]`},
		{`'\n\'"'`, `["\\n'\""]`},
		{`x"y z"`, `["xy z"]`},
		{`"\x4"`, `["x4"]`},
		{"a\x00b", `["a" "b"]`},
		{`"a`, `error`},
		{`'a`, `error`},
		{`"a"b`, `error`},
		{`'a'"b"`, `error`},
		{`"a\`, `error`},
		{`"a\"`, `error`},
	} {
		args, err := splitInline([]byte(c.line), nil)
		got := fmt.Sprintf("%q", args)
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.line, got, c.want)
		}
	}
}
