package peertest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// window is how much a way holds before writes wait.
const window = 256 << 10

// conn is one end of a connection.
type conn struct {
	in, out       *half
	local, remote Addr
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
		c.in.closeReader()
		c.out.closeWriter()
	})
	return err
}

func (c *conn) SetDeadline(t time.Time) error {
	return max2(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.in.setDeadline(&c.in.readBy, t) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.out.setDeadline(&c.out.writeBy, t) }

func max2(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// half is one direction of a connection.
type half struct {
	n   *Net
	way way

	mu   sync.Mutex
	cond *sync.Cond
	state
	segments []segment
	size     int
	// ended: the writer closed, gone: the reader closed, broken: a reset in the middle.
	ended, gone, broken bool
	endedAt             time.Time // when the close arrives
	readBy, writeBy     by
	arrival             *time.Timer
}

// segment is what one write sent, and when it arrives.
type segment struct {
	b  []byte
	at time.Time
}

// by is a deadline and the timer that wakes those who wait for it.
type by struct {
	t     time.Time
	timer *time.Timer
}

func (b *by) over() bool { return !b.t.IsZero() && !time.Now().Before(b.t) }

func newHalf(n *Net, w way) *half {
	h := &half{n: n, way: w, state: *n.state(w)}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.gone:
			return 0, net.ErrClosed
		case h.broken:
			return 0, syscall.ECONNRESET
		case h.readBy.over():
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		}
		if n := h.takeLocked(p); n > 0 {
			return n, nil
		}
		if h.ended && len(h.segments) == 0 && h.hereLocked(h.endedAt) {
			return 0, io.EOF
		}
		h.cond.Wait()
	}
}

func (h *half) takeLocked(p []byte) int {
	n := 0
	for n < len(p) && len(h.segments) > 0 && h.hereLocked(h.segments[0].at) {
		s := &h.segments[0]
		k := copy(p[n:], s.b)
		n += k
		if s.b = s.b[k:]; len(s.b) == 0 {
			h.segments = h.segments[1:]
		}
	}
	if n > 0 {
		h.size -= n
		h.cond.Broadcast()
	}
	return n
}

// hereLocked says whether what was to arrive at t has; if not, it sees to it that the reader wakes up then.
func (h *half) hereLocked(t time.Time) bool {
	if h.cut {
		return false
	}
	d := time.Until(t)
	if d <= 0 {
		return true
	}
	if h.arrival != nil {
		h.arrival.Stop()
	}
	h.arrival = time.AfterFunc(d, h.cond.Broadcast)
	return false
}

func (h *half) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	sent := 0
	for {
		switch {
		case h.ended:
			return sent, net.ErrClosed
		case h.broken, h.gone && !h.cut:
			return sent, syscall.EPIPE
		case h.writeBy.over():
			return sent, os.ErrDeadlineExceeded
		case sent == len(p):
			return sent, nil
		}
		if k := min(len(p)-sent, window-h.size); k > 0 {
			h.segments = append(h.segments, segment{b: append([]byte(nil), p[sent:sent+k]...), at: time.Now().Add(h.delay)})
			h.size += k
			sent += k
			h.cond.Broadcast()
			continue
		}
		h.cond.Wait()
	}
}

func (h *half) setDeadline(b *by, t time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	b.t = t
	if d := time.Until(t); !t.IsZero() && d > 0 {
		b.timer = time.AfterFunc(d, h.cond.Broadcast)
	}
	h.cond.Broadcast()
	return nil
}

func (h *half) change(s state) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state = s
	h.cond.Broadcast()
}

func (h *half) reset() { h.end(func() { h.broken = true }) }

func (h *half) closeReader() { h.end(func() { h.gone = true }) }

func (h *half) closeWriter() {
	h.end(func() { h.ended, h.endedAt = true, time.Now().Add(h.delay) })
}

// end marks the half, and forgets it when both sides have.
func (h *half) end(mark func()) {
	h.mu.Lock()
	mark()
	over := h.broken || h.gone && h.ended
	if over {
		for _, b := range []*by{&h.readBy, &h.writeBy} {
			if b.timer != nil {
				b.timer.Stop()
			}
		}
		if h.arrival != nil {
			h.arrival.Stop()
		}
	}
	h.cond.Broadcast()
	h.mu.Unlock()
	if over {
		h.n.mu.Lock()
		delete(h.n.halves, h)
		h.n.mu.Unlock()
	}
}
