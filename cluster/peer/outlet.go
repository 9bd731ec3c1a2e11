package peer

import (
	"fmt"
	"sync"
	"syscall"
	"time"
)

// outlet is the sending half of a link.
type outlet struct {
	mu  sync.Mutex
	err error // why the link has ended
	// pending has whole frames, not yet given to anybody. Whoever sets writing may write, and takes all of it at once;
	// flight is how much that was.
	pending []byte
	spare   []byte // the other buffer, empty
	writing bool
	flight  int
	// rest is what the writer goroutine has to go on with; it is the owner then.
	rest []byte
	// sends counts frames, for the pings.
	sends uint64
	wake  chan struct{}

	// For a write that does not wait; used by the one who is writing. The function is made once: it would be
	// an allocation for each write.
	raw    syscall.RawConn
	tryBuf []byte
	tryN   int
	tryErr error
	tryFn  func(fd uintptr) bool
}

// send queues a frame and writes it if nobody else is writing.
func (l *Link) send(typ byte, head, payload []byte) error {
	size := len(head) + len(payload)
	if size > l.n.o.MaxFrame {
		return fmt.Errorf("%w: %d bytes of payload, %d allowed", ErrTooBig, size, l.n.o.MaxFrame)
	}
	l.mu.Lock()
	if err := l.err; err != nil {
		l.mu.Unlock()
		return err
	}
	if len(l.pending)+l.flight+frameHead+size > l.n.o.QueueBytes {
		l.mu.Unlock()
		err := fmt.Errorf("%w (node %s, %d bytes)", ErrQueueFull, l.peer.Node, l.n.o.QueueBytes)
		l.end(err, true)
		return err
	}
	l.pending = append(append(appendFrameHead(l.pending, typ, size), head...), payload...)
	l.sends++
	if l.writing {
		l.mu.Unlock()
		return nil
	}
	l.writing = true
	if l.raw == nil {
		l.mu.Unlock()
		l.wakeWriter()
		return nil
	}
	return l.writeNow()
}

// writeNow writes what is pending, and once more what came meanwhile; the rest, and what comes after that, is for the
// writer goroutine: a caller is not held up by other callers. Called with mu, returns without.
func (l *Link) writeNow() error {
	for range 2 {
		buf := l.takeLocked()
		l.mu.Unlock()
		n, err := l.try(buf)
		if err != nil {
			err = fmt.Errorf("%w: write to %s: %w", ErrGone, l.peer.Node, err)
			l.end(err, true)
			return l.Err()
		}
		l.mu.Lock()
		if n < len(buf) {
			l.rest = buf[n:]
			break
		}
		if l.wroteLocked(buf) {
			l.mu.Unlock()
			return nil
		}
	}
	l.mu.Unlock()
	l.wakeWriter()
	return nil
}

// takeLocked takes all that is pending.
func (l *Link) takeLocked() []byte {
	buf := l.pending
	l.pending, l.spare = l.spare, nil
	l.flight = len(buf)
	return buf
}

// wroteLocked gives the buffer back and says whether nothing is left to write.
func (l *Link) wroteLocked(buf []byte) bool {
	l.flight = 0
	if l.spare == nil && cap(buf) <= keepBuffer {
		l.spare = buf[:0]
	}
	if len(l.pending) == 0 {
		l.writing = false
	}
	return !l.writing
}

func (l *Link) wakeWriter() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// silentPings is how many pings long nothing may come from the other side.
const silentPings = 4

// write is the writer goroutine: it goes on where a write would have to wait, and pings.
func (l *Link) write() {
	t := time.NewTicker(l.n.o.Ping)
	defer t.Stop()
	var last uint64
	silent := 0
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-l.wake:
			l.drain()
		case <-t.C:
			if l.heard.Swap(false) || l.handling.Load() {
				silent = 0
			} else if silent++; silent >= silentPings {
				l.end(fmt.Errorf("%w (node %s, for %s)", ErrSilent, l.peer.Node, silentPings*l.n.o.Ping), true)
				return
			}
			l.mu.Lock()
			idle := l.sends == last && !l.writing
			last = l.sends
			l.mu.Unlock()
			if idle {
				last++
				_ = l.send(framePing, nil, nil) // its error has ended the link
			}
		}
	}
}

// drain writes all there is, waiting for the other side as long as it takes some.
func (l *Link) drain() {
	l.mu.Lock()
	buf := l.rest
	l.rest = nil
	for {
		if buf == nil {
			if len(l.pending) == 0 || l.err != nil {
				l.writing = false
				l.mu.Unlock()
				return
			}
			buf = l.takeLocked()
		}
		l.mu.Unlock()
		err := l.writeAll(buf)
		if err != nil {
			l.end(fmt.Errorf("%w: write to %s: %w", ErrGone, l.peer.Node, err), true)
			return
		}
		l.mu.Lock()
		l.wroteLocked(buf)
		buf = nil
	}
}

func (l *Link) writeAll(buf []byte) error {
	for len(buf) > 0 {
		part := buf[:min(len(buf), chunk)]
		if err := l.conn.SetWriteDeadline(time.Now().Add(l.n.o.WriteTimeout)); err != nil {
			return err
		}
		if _, err := l.conn.Write(part); err != nil {
			return err
		}
		buf = buf[len(part):]
	}
	// A deadline in the past would fail the next write of a Send.
	return l.conn.SetWriteDeadline(time.Time{})
}

// try makes one write that does not wait.
func (o *outlet) try(p []byte) (int, error) {
	o.tryBuf, o.tryN, o.tryErr = p, 0, nil
	err := o.raw.Write(o.tryFn)
	if err == nil {
		err = o.tryErr
	}
	o.tryBuf = nil
	return o.tryN, err
}

func (o *outlet) init(raw syscall.RawConn) {
	o.raw = raw
	o.wake = make(chan struct{}, 1)
	o.tryFn = func(fd uintptr) bool {
		o.tryN, o.tryErr = writeFD(fd, o.tryBuf)
		return true // whatever came of it: never wait
	}
}
