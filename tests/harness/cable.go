package harness

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// lane is one direction between two nodes.
type lane struct {
	passed atomic.Int64

	mu      sync.Mutex
	cut     bool
	cutAt   int64 // once so much has passed in all, it is cut; 0: never
	delay   time.Duration
	changed chan struct{} // closed and replaced by each change
}

func newLane() *lane { return &lane{changed: make(chan struct{})} }

func (l *lane) set(cut bool, delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut, l.delay, l.cutAt = cut, delay, 0
	close(l.changed)
	l.changed = make(chan struct{})
}

// cutAfter cuts the lane once so many more bytes have passed.
func (l *lane) cutAfter(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cutAt = l.passed.Load() + n
}

// count takes note of what has passed.
func (l *lane) count(n int) {
	l.mu.Lock()
	cut := l.passed.Add(int64(n)) >= l.cutAt && l.cutAt > 0
	l.mu.Unlock()
	if cut {
		l.set(true, l.delayed())
	}
}

func (l *lane) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

func (l *lane) delayed() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.delay
}

// pass returns when something that was sent at a time may arrive, or false when stop came first.
func (l *lane) pass(sent time.Time, stop <-chan struct{}) bool {
	for {
		l.mu.Lock()
		cut, due, changed := l.cut, time.Until(sent.Add(l.delay)), l.changed
		l.mu.Unlock()
		if !cut && due <= 0 {
			return true
		}
		var arrived <-chan time.Time
		var timer *time.Timer
		if !cut {
			timer = time.NewTimer(due)
			arrived = timer.C
		}
		select {
		case <-arrived:
		case <-changed:
		case <-stop:
			return false
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// chunk is a piece of a stream on its way. The last of a stream has no bytes and says how it ended.
type chunk struct {
	sent  time.Time
	bytes []byte
	end   error // io.EOF: closed in order
}

const (
	chunkBytes = 32 << 10
	// chunksUnderWay bounds what a cut holds back in each direction of a connection, as socket buffers would.
	chunksUnderWay = 128
)

// cable is one connection between two nodes.
type cable struct {
	from, to      string
	there, back   *lane
	near, far     net.Conn // far is nil until the far node was reached
	stop          chan struct{}
	mu            sync.Mutex // guards far and stopped
	stopped       bool
	thither, home chan chunk
}

func newCable(from, to string, near net.Conn, there, back *lane) *cable {
	return &cable{
		from: from, to: to, near: near, there: there, back: back, stop: make(chan struct{}),
		thither: make(chan chunk, chunksUnderWay), home: make(chan chunk, chunksUnderWay),
	}
}

// abort breaks both ends, as a reset does.
func (c *cable) abort() { c.end(true) }

// end closes both ends; unless it breaks them, what was handed on still arrives.
func (c *cable) end(breaks bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	c.stopped = true
	close(c.stop)
	for _, conn := range []net.Conn{c.near, c.far} {
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			continue // never reached
		}
		if breaks {
			_ = tcp.SetLinger(0) // on a broken connection it means nothing
		}
		_ = tcp.Close() // nobody is told anything here
	}
}

// carry hands the bytes on in both directions until both have ended.
func (c *cable) carry(target string) {
	var lanes sync.WaitGroup
	defer lanes.Wait()
	defer c.abort() // before the wait: it ends the readers
	lanes.Go(func() { c.read(c.near, c.thither) })
	first, ok := c.reach(target)
	if !ok {
		return
	}
	lanes.Go(func() { c.read(c.far, c.home) })
	var both sync.WaitGroup
	both.Go(func() { c.write(first, c.thither, c.far, c.there, c.back) })
	both.Go(func() { c.write(nil, c.home, c.near, c.back, c.there) })
	both.Wait()
	c.end(false)
}

// reach connects to the far node once the first bytes may arrive there: nodes' protocols begin with the caller. A
// caller that gave up before that leaves no trace, as a connection request that was lost.
func (c *cable) reach(target string) (*chunk, bool) {
	var first chunk
	select {
	case first = <-c.thither:
	case <-c.stop:
		return nil, false
	}
	if first.end != nil || !c.there.pass(first.sent, c.stop) {
		return nil, false
	}
	far, err := net.DialTimeout("tcp", target, Patience)
	if err != nil {
		c.back.pass(time.Now(), c.stop) // the refusal travels, too
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		_ = far.Close() // aborted in between
		return nil, false
	}
	c.far = far
	return &first, true
}

// read takes what one end sends.
func (c *cable) read(from net.Conn, to chan<- chunk) {
	for {
		buf := make([]byte, chunkBytes)
		n, err := from.Read(buf)
		now := time.Now()
		if n > 0 {
			select {
			case to <- chunk{sent: now, bytes: buf[:n]}:
			case <-c.stop:
				return
			}
		}
		if err != nil {
			select {
			case to <- chunk{sent: now, end: err}:
			case <-c.stop:
			}
			return
		}
	}
}

// write hands on what arrives by a lane until the stream ends. An end that was not in order breaks the whole connection,
// and so does writing to an end that is gone, once the word of it has come by the other lane.
func (c *cable) write(first *chunk, from <-chan chunk, to net.Conn, l, other *lane) {
	for {
		var next chunk
		if first != nil {
			next, first = *first, nil
		} else {
			select {
			case next = <-from:
			case <-c.stop:
				return
			}
		}
		if !l.pass(next.sent, c.stop) {
			return
		}
		if next.end != nil {
			if !errors.Is(next.end, io.EOF) || to.(*net.TCPConn).CloseWrite() != nil {
				c.abort()
			}
			return
		}
		l.count(len(next.bytes)) // first: who has been answered may look at it
		if _, err := to.Write(next.bytes); err != nil {
			if other.pass(time.Now(), c.stop) {
				c.abort()
			}
			return
		}
	}
}
