package resp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for a condition; nothing measures against it.
const patience = 20 * time.Second

// desk is the handler of the tests. HOLD is the one command whose reply comes later; all others answer at once
// and so wait for it.
type desk struct {
	auth bool // a password is required

	mu     sync.Mutex
	conns  []*Conn
	closed map[*Conn]error
	bursts int
}

func newDesk() *desk { return &desk{closed: make(map[*Conn]error)} }

func (d *desk) Connect(c *Conn) (any, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.auth {
		c.SetAuthenticated(false)
	}
	d.conns = append(d.conns, c)
	return len(d.conns), nil
}

func (d *desk) Closed(c *Conn, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, twice := d.closed[c]; twice {
		panic("closed twice")
	}
	d.closed[c] = err
}

func (d *desk) Burst(*Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bursts++
}

func (d *desk) Command(c *Conn, args [][]byte) bool {
	name := strings.ToUpper(string(args[0]))
	if name == "HOLD" {
		c.Hold()
		return true
	}
	if name == "STUCK" || c.Outstanding() > 0 {
		return false
	}
	d.answer(c, name, args)
	return true
}

func (d *desk) answer(c *Conn, name string, args [][]byte) {
	arg := func() int {
		n, _ := strconv.Atoi(string(args[1]))
		return n
	}
	if name == "HELLO" {
		c.SetProto(arg())
	}
	if name == "AUTH" {
		c.SetAuthenticated(true)
	}
	w := c.Begin()
	switch name {
	case "PING":
		w.Simple("PONG")
	case "ARGS":
		w.Array(len(args))
		for _, a := range args {
			w.Bulk(a)
		}
	case "ARGC":
		w.Int(int64(len(args)))
	case "BIG":
		w.Bulk(bytes.Repeat([]byte("x"), arg()))
	case "TYPES":
		writeTypes(w)
	case "QUIT":
		w.OK()
		c.CloseAfterFlush()
	case "KILLME":
		c.Kill()
	case "HALF":
		w.Array(2)
		panic("between Begin and End")
	case "PANIC":
		c.End(0)
		panic("in a handler")
	case "HELLO", "AUTH":
		w.OK()
	default:
		w.Error("ERR", fmt.Sprintf("unknown command '%s'", args[0]))
	}
	c.End(0)
}

func writeTypes(w *Writer) {
	w.Map(2)
	w.BulkString("int")
	w.Int(-7)
	w.BulkString("uint")
	w.Uint(1 << 53)
	w.Set(1)
	w.Simple("sim\r\nple")
	w.Push(1)
	w.OK()
	w.Array(9)
	w.Null()
	w.NullArray()
	w.Bool(true)
	w.Bool(false)
	w.Double(1.5)
	w.Double(-1e300)
	w.Verbatim("txt", "some text")
	w.Bulk(nil)
	w.Error("NOTOWNER", "lock \"a\r\n+OK\" is held")
}

// answer writes n outstanding replies of a connection, numbered from first on, and flushes.
func answer(c *Conn, first, n int) {
	w := c.Begin()
	for i := range n {
		w.Int(int64(first + i))
	}
	c.End(n)
	c.Flush()
}

func (d *desk) conn(i int) *Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i >= len(d.conns) {
		return nil
	}
	return d.conns[i]
}

// why returns what Closed was told, and whether it was called.
func (d *desk) why(c *Conn) (ok bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	err, ok = d.closed[c]
	return ok, err
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came: %s", what)
		}
	}
}

// start runs a server on a TCP and a unix socket; it ends with the test.
func start(t testing.TB, h Handler, change func(*Limits)) (s *Server, tcp, unix net.Addr) {
	t.Helper()
	return startLogging(t, h, change, slog.New(slog.DiscardHandler))
}

func startLogging(t testing.TB, h Handler, change func(*Limits), log *slog.Logger) (s *Server, tcp, unix net.Addr) {
	t.Helper()
	lim := NewLimits()
	if change != nil {
		change(lim)
	}
	s = NewServer(Options{Handler: h, Limits: lim, Logger: log})
	l1, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l2, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l1, l2) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		_ = s.Shutdown(ctx) // clients may still hold replies back
		if err := <-served; err != nil {
			t.Error(err)
		}
		if n := s.Stats().Clients.Load(); n != 0 {
			t.Errorf("%d clients are left", n)
		}
	})
	return s, l1.Addr(), l2.Addr()
}

type client struct {
	net.Conn
	t testing.TB
}

func dial(t testing.TB, a net.Addr) *client {
	t.Helper()
	nc, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &client{nc, t}
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) want(s string) {
	c.t.Helper()
	got := make([]byte, len(s))
	n, err := io.ReadFull(c, got)
	if string(got[:n]) != s {
		c.t.Fatalf("got %q (%v)\nwant %q", got[:n], err, s)
	}
}

// wantClosed expects s and then the end of the connection.
func (c *client) wantClosed(s string) {
	c.t.Helper()
	got, err := io.ReadAll(c)
	if string(got) != s || errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		c.t.Fatalf("got %q, then %v\nwant %q and the end", got, err, s)
	}
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
