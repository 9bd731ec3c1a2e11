package harness

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Conn is a RESP connection of our own: bytes in and out, nothing done behind the caller's back. It is not safe for
// many goroutines, but one may send while another receives.
type Conn struct {
	net.Conn
	r   *bufio.Reader
	out []byte
}

// Dial connects to host:port, or to a unix socket (a path).
func Dial(addr string) (*Conn, error) { return DialWithin(addr, Patience) }

// DialWithin is Dial with a time of the caller's.
func DialWithin(addr string, d time.Duration) (*Conn, error) {
	network := "tcp"
	if strings.HasPrefix(addr, "/") {
		network = "unix"
	}
	nc, err := net.DialTimeout(network, addr, d)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return NewConn(nc), nil
}

// NewConn speaks RESP over a connection.
func NewConn(nc net.Conn) *Conn {
	return &Conn{Conn: nc, r: bufio.NewReader(nc)}
}

// AppendCommand appends a command as an array of bulk strings.
func AppendCommand(b []byte, args ...string) []byte {
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(len(args)), 10)
	b = append(b, "\r\n"...)
	for _, arg := range args {
		b = append(b, '$')
		b = strconv.AppendInt(b, int64(len(arg)), 10)
		b = append(b, "\r\n"...)
		b = append(b, arg...)
		b = append(b, "\r\n"...)
	}
	return b
}

// Send sends one command and does not wait for its reply.
func (c *Conn) Send(args ...string) error {
	c.out = AppendCommand(c.out[:0], args...)
	return c.SendRaw(c.out)
}

// SendRaw sends bytes as they are.
func (c *Conn) SendRaw(b []byte) error {
	if err := c.SetWriteDeadline(time.Now().Add(Patience)); err != nil {
		return err
	}
	_, err := c.Write(b)
	return err
}

// Receive returns the next reply. A server that sends none within [Patience] is an error.
func (c *Conn) Receive() (Value, error) { return c.ReceiveWithin(Patience) }

// ReceiveWithin is Receive with a time of the caller's.
func (c *Conn) ReceiveWithin(d time.Duration) (Value, error) {
	if err := c.SetReadDeadline(time.Now().Add(d)); err != nil {
		return Value{}, err
	}
	return ReadValue(c.r)
}

// Do sends a command and returns its reply. An error reply is a value, not an error.
func (c *Conn) Do(args ...string) (Value, error) {
	if err := c.Send(args...); err != nil {
		return Value{}, err
	}
	return c.Receive()
}

// ReadRaw reads exactly n bytes.
func (c *Conn) ReadRaw(n int) ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return nil, err
	}
	buf := make([]byte, n)
	n, err := io.ReadFull(c.r, buf)
	return buf[:n], err
}

// ErrStillOpen is what AwaitClose answers when the server keeps the connection.
var ErrStillOpen = errors.New("the connection is still open")

// AwaitClose reads until the server closes the connection and returns what came before that.
func (c *Conn) AwaitClose() ([]byte, error) {
	if err := c.SetReadDeadline(time.Now().Add(Patience)); err != nil {
		return nil, err
	}
	got, err := io.ReadAll(c.r)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return got, ErrStillOpen
	}
	return got, nil // an end or a reset: both are closed
}

// Buffered reports whether bytes of a reply have been read and not yet taken.
func (c *Conn) Buffered() int { return c.r.Buffered() }
