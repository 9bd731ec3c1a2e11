package harness

import (
	"bytes"
	"strings"
	"testing"
)

// Client is a Conn whose failures fail the test. Use it from the test's goroutine.
type Client struct {
	t    testing.TB
	conn *Conn
}

// Client connects to the server (RESP2). The connection is closed when the test ends.
func (s *Server) Client() *Client {
	s.t.Helper()
	return Connect(s.t, s.addr)
}

// Client3 connects and switches to RESP3.
func (s *Server) Client3() *Client {
	s.t.Helper()
	c := s.Client()
	if hello := c.Do("HELLO", "3"); hello.Kind != Map {
		s.t.Fatalf("HELLO 3: %v", hello)
	}
	return c
}

// Connect connects to an address, for a test whose server is not a [Server].
func Connect(t testing.TB, addr string) *Client {
	t.Helper()
	conn, err := Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{t: t, conn: conn}
	t.Cleanup(func() { _ = conn.Close() }) // closed by the test already, or ended here
	return c
}

// With returns the same connection for a subtest.
func (c *Client) With(t testing.TB) *Client { return &Client{t: t, conn: c.conn} }

// Conn is the connection beneath.
func (c *Client) Conn() *Conn { return c.conn }

// Do sends a command and returns its reply.
func (c *Client) Do(args ...string) Value {
	c.t.Helper()
	v, err := c.conn.Do(args...)
	if err != nil {
		c.t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return v
}

// Line is Do of a line, split at spaces.
func (c *Client) Line(line string) Value {
	c.t.Helper()
	return c.Do(strings.Fields(line)...)
}

// Int is Line of a command that must answer an integer.
func (c *Client) Int(line string) int64 {
	c.t.Helper()
	v := c.Line(line)
	if v.Kind != Int {
		c.t.Fatalf("%s: %v, want an integer", line, v)
	}
	return v.Int
}

// Want is Line of a command whose reply must be written like this (see Value.String).
func (c *Client) Want(line, reply string) {
	c.t.Helper()
	if v := c.Line(line); v.String() != reply {
		c.t.Fatalf("%s: %v, want %s", line, v, reply)
	}
}

// WantCode is Line of a command that must answer an error with this code, and returns its text.
func (c *Client) WantCode(line, code string) string {
	c.t.Helper()
	v := c.Line(line)
	if v.Code() != code {
		c.t.Fatalf("%s: %v, want -%s", line, v, code)
	}
	return v.Text
}

// Field is a field of the map that a line answers.
func (c *Client) Field(line, field string) Value {
	c.t.Helper()
	v := c.Line(line)
	value, ok := v.Field(field)
	if !ok {
		c.t.Fatalf("%s: no field %q in %v", line, field, v)
	}
	return value
}

// Send sends a line and waits for no reply.
func (c *Client) Send(line string) {
	c.t.Helper()
	if err := c.conn.Send(strings.Fields(line)...); err != nil {
		c.t.Fatalf("%s: %v", line, err)
	}
}

// SendRaw sends bytes.
func (c *Client) SendRaw(b string) {
	c.t.Helper()
	if err := c.conn.SendRaw([]byte(b)); err != nil {
		c.t.Fatalf("send %.60q: %v", b, err)
	}
}

// Receive returns the next reply.
func (c *Client) Receive() Value {
	c.t.Helper()
	v, err := c.conn.Receive()
	if err != nil {
		c.t.Fatalf("waiting for a reply: %v", err)
	}
	return v
}

// WantRaw reads as many bytes as want has; they must be these.
func (c *Client) WantRaw(want string) {
	c.t.Helper()
	got, err := c.conn.ReadRaw(len(want))
	if !bytes.Equal(got, []byte(want)) {
		c.t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

// WantClosed waits until the server has closed the connection and returns the bytes that came before.
func (c *Client) WantClosed() string {
	c.t.Helper()
	got, err := c.conn.AwaitClose()
	if err != nil {
		c.t.Fatalf("%v; got %.200q", err, got)
	}
	return string(got)
}

// Close closes the connection, as a client that goes away.
func (c *Client) Close() {
	c.t.Helper()
	if err := c.conn.Close(); err != nil {
		c.t.Fatalf("close: %v", err)
	}
}
