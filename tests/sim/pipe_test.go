package sim

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/redlockd/redlockd/cluster/peer/peertest"
)

// pipeBytes is how much a direction holds before writes wait.
const pipeBytes = 1 << 20

// conn is one end of a connection.
type conn struct {
	in, out       *pipe
	local, remote peertest.Addr
	once          sync.Once
}

var _ net.Conn = (*conn)(nil)

func (c *conn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *conn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *conn) LocalAddr() net.Addr         { return c.local }
func (c *conn) RemoteAddr() net.Addr        { return c.remote }

func (c *conn) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		err = nil
		c.in.change(func(p *pipe) { p.gone = true })
		after, _ := c.out.n.fly(c.out.way)
		c.out.change(func(p *pipe) { p.ended, p.endAt = true, p.arrival(after) })
	})
	return err
}

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.change(func(p *pipe) { p.readBy = t })
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.change(func(p *pipe) { p.writeBy = t })
	return nil
}

// pipe is one direction of a connection.
type pipe struct {
	n   *network
	way way

	mu     sync.Mutex
	cond   *sync.Cond
	cut    bool
	opened time.Time // nothing arrives before
	// segments are under way or not read yet; last is when the newest arrives.
	segments []segment
	size     int
	last     time.Time
	// ended: the writer closed, and that arrives at endAt. gone: the reader closed.
	// broken: reset. stalled: nothing arrives any more, and nobody was told.
	ended, gone, broken, stalled bool
	endAt                        time.Time
	// silent: the writer is dead. What it had sent arrives, and nothing else does.
	silent bool
	// reset: behind that comes a reset.
	reset           bool
	readBy, writeBy time.Time
	waiting         int // goroutines that wait
	timer           *time.Timer
}

type segment struct {
	b  []byte
	at time.Time
}

// pipe makes one; n.mu is held.
func (n *network) pipe(w way) *pipe {
	s := n.state(w)
	p := &pipe{n: n, way: w, cut: s.cuts > 0, opened: s.opened}
	p.cond = sync.NewCond(&p.mu)
	return p
}

// arrival is when what is sent now arrives: in order. mu is held.
func (p *pipe) arrival(after time.Duration) time.Time {
	if at := time.Now().Add(after); at.After(p.last) {
		p.last = at
	}
	return p.last
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		now := time.Now()
		switch {
		case p.gone:
			return 0, net.ErrClosed
		case p.broken:
			return 0, syscall.ECONNRESET
		case p.reset && len(p.segments) == 0:
			return 0, syscall.ECONNRESET
		case !p.readBy.IsZero() && !now.Before(p.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		}
		if n := p.take(b, now); n > 0 {
			return n, nil
		}
		if p.ended && len(p.segments) == 0 && p.here(p.endAt, now) {
			return 0, io.EOF
		}
		next := p.readBy
		if !p.cut && !p.stalled {
			at := p.endAt
			if len(p.segments) > 0 {
				at = p.segments[0].at
			}
			if at.Before(p.opened) && !at.IsZero() {
				at = p.opened
			}
			next = earlier(next, at)
		}
		p.wait(next, now)
	}
}

// earlier returns the earlier of two moments; zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// here says whether what arrives at a moment has.
func (p *pipe) here(at, now time.Time) bool {
	return !p.cut && !p.stalled && !now.Before(at) && !now.Before(p.opened)
}

func (p *pipe) take(b []byte, now time.Time) int {
	n := 0
	for n < len(b) && len(p.segments) > 0 && p.here(p.segments[0].at, now) {
		s := &p.segments[0]
		k := copy(b[n:], s.b)
		n += k
		if s.b = s.b[k:]; len(s.b) == 0 {
			p.segments = p.segments[1:]
		}
	}
	if n > 0 {
		p.size -= n
		p.wake()
	}
	return n
}

// wait sleeps until something changes, at most until a moment (zero: no limit).
func (p *pipe) wait(until, now time.Time) {
	if !until.IsZero() {
		d := max(until.Sub(now), 1)
		if p.timer == nil {
			p.timer = time.AfterFunc(d, func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.cond.Broadcast()
			})
		} else {
			p.timer.Reset(d)
		}
	}
	p.waiting++
	p.cond.Wait()
	p.waiting--
}

func (p *pipe) wake() {
	if p.waiting > 0 {
		p.cond.Broadcast()
	}
}

func (p *pipe) write(b []byte) (int, error) {
	after, lost := p.n.fly(p.way)
	p.mu.Lock()
	defer p.mu.Unlock()
	sent := 0
	for {
		now := time.Now()
		switch {
		case p.silent:
			return len(b), nil
		case p.ended:
			return sent, net.ErrClosed
		case p.broken, p.gone && !p.cut && !p.stalled:
			return sent, syscall.EPIPE
		case !p.writeBy.IsZero() && !now.Before(p.writeBy):
			return sent, os.ErrDeadlineExceeded
		case sent == len(b):
			return sent, nil
		}
		if lost {
			lost, p.stalled = false, true
			time.AfterFunc(after, func() { p.n.reset(p.way.from, p.way.to) })
		}
		if k := min(len(b)-sent, pipeBytes-p.size); k > 0 {
			p.segments = append(p.segments, segment{b: append([]byte(nil), b[sent:sent+k]...), at: p.arrival(after)})
			p.size += k
			sent += k
			p.wake()
			continue
		}
		p.wait(p.writeBy, now)
	}
}

// die resets the pipe; not told: its writer goes on as if nothing had happened.
func (p *pipe) die(told bool) {
	p.change(func(p *pipe) {
		if told {
			p.broken = true
		} else {
			p.gone, p.stalled = true, true
		}
	})
}

// lastWords ends the pipe with what is under way. Loud: a reset comes behind it.
func (p *pipe) lastWords(loud bool) {
	p.change(func(p *pipe) { p.silent, p.reset = true, p.reset || loud })
}

// speaksLast says whether something of a dead writer is still under way; behind it
// comes the reset that its successor's machine answers with.
func (p *pipe) speaksLast() bool {
	speaks := false
	p.change(func(p *pipe) {
		speaks = p.silent && len(p.segments) > 0
		p.reset = p.reset || p.silent
	})
	return speaks
}

// stall keeps all that is under way, and all that will be, from arriving.
func (p *pipe) stall() { p.change(func(p *pipe) { p.stalled = true }) }

// change changes the pipe, and lets the network forget it when both its ends have.
func (p *pipe) change(f func(*pipe)) {
	p.mu.Lock()
	f(p)
	over := p.broken || p.gone && (p.ended || p.silent)
	if over {
		p.segments = nil
		if p.timer != nil && p.waiting == 0 {
			p.timer.Stop()
		}
	}
	p.wake()
	p.mu.Unlock()
	if over {
		p.n.forget(p)
	}
}

func (n *network) forget(p *pipe) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.pipes, p)
}
