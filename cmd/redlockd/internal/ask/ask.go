// Package ask is a small client of redlockd's own tools (redlockd status): it
// sends a command over RESP2 and reads one reply of text. It knows no pool, no
// retry and no command.
package ask

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// maxReply is far above any reply that the tools ask for.
const maxReply = 16 << 20

// Client is one connection to a node. It is not safe for concurrent use.
type Client struct {
	nc net.Conn
	r  *bufio.Reader
}

// Error is an error that the node answered: a code, then a sentence.
type Error string

func (e Error) Error() string { return string(e) }

// Dial connects to host:port or unix:/path, and gives the password if there is
// one. All that the connection does ends with ctx.
func Dial(ctx context.Context, addr, password string) (*Client, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	nc, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = nc.SetDeadline(deadline)
	}
	context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	c := &Client{nc, bufio.NewReader(nc)}
	if err == nil && password != "" {
		_, err = c.Do("AUTH", password)
	}
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return c, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.nc.Close() }

// Do sends a command and returns its reply, which must be a text or a number.
// An Error is the node's own.
func (c *Client) Do(args ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := io.WriteString(c.nc, b.String()); err != nil {
		return "", err
	}
	line, err := c.line()
	if err != nil {
		return "", err
	}
	switch line[0] {
	case '+', ':':
		return line[1:], nil
	case '-':
		return "", Error(line[1:])
	case '$':
		return c.bulk(line[1:])
	}
	return "", fmt.Errorf("this is not redlockd: it answered %q", line)
}

// maxLine is far above any line of a reply.
const maxLine = 64 << 10

func (c *Client) line() (string, error) {
	var line []byte
	for {
		part, err := c.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			text := strings.TrimSuffix(string(line), "\r\n")
			if text == "" {
				return "", errors.New("this is not redlockd: it answered an empty line")
			}
			return text, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		case len(line) > maxLine:
			return "", errors.New("this is not redlockd: its answer is a line without end")
		}
	}
}

func (c *Client) bulk(length string) (string, error) {
	n, err := strconv.Atoi(length)
	if err != nil || n > maxReply {
		return "", fmt.Errorf("this is not redlockd: it answered a text of %s bytes", length)
	}
	if n < 0 {
		return "", nil
	}
	body := make([]byte, n+2)
	if _, err := io.ReadFull(c.r, body); err != nil {
		return "", err
	}
	return string(body[:n]), nil
}

// Info reads name:value lines, as INFO answers them.
func Info(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if name, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
			fields[name] = value
		}
	}
	return fields
}

// Pairs reads name=value,name=value, as INFO has them within a value.
func Pairs(text string) map[string]string {
	fields := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			fields[name] = value
		}
	}
	return fields
}
