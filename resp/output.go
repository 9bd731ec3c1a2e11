package resp

import (
	"errors"
	"os"
	"time"
)

// writeBytes is how much a slow client has Limits.WriteTimeout for.
const writeBytes = 64 << 10

// Flush sends what was answered so far, as far as the client takes it without waiting; the rest is left to a
// goroutine that exists only as long as there is a rest. Any goroutine may call it, at any time.
func (c *Conn) Flush() {
	if !c.dirty.Load() {
		return
	}
	o := &c.out
	o.lock()
	rest, err := c.flushLocked()
	o.mu.Unlock()
	if err != nil {
		c.fail(err)
	}
	if rest && c.srv.over() {
		c.srv.relieve()
	}
}

func (o *outlet) lock() {
	o.mu.Lock()
	o.turns.Add(1)
}

// flushLocked reports whether it left a rest to a new drain.
func (c *Conn) flushLocked() (rest bool, err error) {
	o := &c.out
	c.dirty.Store(false)
	if o.dead {
		c.dropLocked()
	}
	if c.draining.Load() || o.w == nil {
		return false, nil
	}
	o.n, o.err = 0, nil
	if c.raw != nil && len(o.w.b) > 0 {
		if err := c.raw.Write(o.writeFn); err != nil {
			o.err = err
		}
		c.wrote(o.n)
	}
	switch {
	case o.err != nil:
		o.dead = true
		c.dropLocked()
		return false, o.err
	case o.n == len(o.w.b):
		putWriter(o.w)
	default:
		rest = true
		c.draining.Store(true)
		c.srv.stats.Unread.Add(int64(len(o.w.b) - o.n))
		c.srv.stats.SlowWrites.Add(1)
		go c.drain(o.w, o.n)
	}
	o.w = nil
	return rest, nil
}

// writeNow writes what the socket's buffer takes; it never sleeps.
func (o *outlet) writeNow(fd uintptr) bool {
	n, again, err := writeFD(fd, o.w.b)
	if again {
		err = nil
	}
	o.n, o.err = n, err
	return true
}

func (c *Conn) wrote(n int) {
	c.gone(n)
	c.bytesOut.Add(int64(n))
	c.srv.stats.BytesOut.Add(uint64(n))
	c.srv.stats.Writes.Add(1)
}

// gone takes bytes that need not be written any more out of what is pending; by a drain, or under the output's lock.
func (c *Conn) gone(n int) {
	c.pending.Add(int64(-n))
	if c.draining.Load() {
		c.srv.stats.Unread.Add(int64(-n))
	}
}

// dropLocked forgets the output; the caller holds the lock.
func (c *Conn) dropLocked() {
	if w := c.out.w; w != nil {
		c.gone(len(w.b))
		putWriter(w)
		c.out.w = nil
	}
}

// drain is the goroutine that writes to a client which does not take its replies at once: w from byte off on,
// and what is answered meanwhile.
func (c *Conn) drain(w *Writer, off int) {
	var err error
	for w != nil {
		err = c.writeAll(w.b[off:])
		putWriter(w)
		w, off = c.nextOutput(err != nil), 0
	}
	if err != nil {
		c.fail(err)
	}
}

// nextOutput hands the drain what was answered meanwhile, nil to end it.
func (c *Conn) nextOutput(failed bool) *Writer {
	o := &c.out
	o.lock()
	defer o.mu.Unlock()
	o.dead = o.dead || failed
	if o.dead {
		c.dropLocked()
	}
	if w := o.w; w != nil && len(w.b) > 0 {
		o.w = nil
		c.dirty.Store(false)
		return w
	}
	c.draining.Store(false)
	_ = c.nc.SetWriteDeadline(time.Time{}) // else it would fail the next write that does not wait
	if o.drained != nil {
		close(o.drained)
	}
	return nil
}

// writeAll writes b, waiting for the client at most WriteTimeout for each piece.
func (c *Conn) writeAll(b []byte) error {
	for len(b) > 0 {
		_ = c.nc.SetWriteDeadline(time.Now().Add(c.srv.limits.WriteTimeout.Load()))
		n, err := c.nc.Write(b[:min(len(b), writeBytes)])
		c.wrote(n)
		b = b[n:]
		if err != nil {
			c.gone(len(b))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return ErrWriteTimeout
			}
			return err
		}
		c.nudge() // the reader may wait for the output to drain
	}
	return nil
}
