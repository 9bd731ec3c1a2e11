package commands

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redlockd/redlockd/resp"
	"github.com/redlockd/redlockd/sessions"
)

// peer is a client of the world: its socket and its session.
type peer struct {
	t  testing.TB
	w  *world
	nc net.Conn
	r  *wireReader
	s  *fakeSession
}

func (w *world) dial(t testing.TB) *peer {
	t.Helper()
	p := w.dialRefused(t)
	if w.sentinel == nil {
		p.s = <-w.sessions
	}
	return p
}

// send sends commands in one write.
func (p *peer) send(lines ...[]string) {
	p.t.Helper()
	var b strings.Builder
	for _, args := range lines {
		fmt.Fprintf(&b, "*%d\r\n", len(args))
		for _, a := range args {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
		}
	}
	if _, err := p.nc.Write([]byte(b.String())); err != nil {
		p.t.Fatal(err)
	}
}

// do sends one command typed as a line and returns its reply as text.
func (p *peer) do(line string) string {
	p.t.Helper()
	p.send(splitLine(p.t, line))
	return p.read()
}

func (p *peer) read() string {
	p.t.Helper()
	v, err := p.r.read()
	if err != nil {
		p.t.Fatalf("reading a reply: %v", err)
	}
	return v.String()
}

// gone waits for the server to close the connection.
func (p *peer) gone() {
	p.t.Helper()
	v, err := p.r.read()
	if err == nil {
		p.t.Fatalf("the connection is open and answered %s", v)
	}
	var timeout net.Error
	if !errors.Is(err, io.EOF) && errors.As(err, &timeout) && timeout.Timeout() {
		p.t.Fatal("the connection stays open")
	}
}

type sessionsAnswerer = sessions.Answerer

func (p *peer) server() *resp.Server { return p.w.srv }

func (w *world) setPassword(password string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.password = password
}

// dialRefused connects where Open refuses: there is no session.
func (w *world) dialRefused(t testing.TB) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", w.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	if err := nc.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &peer{t: t, w: w, nc: nc, r: newWireReader(nc)}
}
