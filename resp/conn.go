package resp

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Conn is one client's connection. Its exported methods may be called by any goroutine at any time, but for
// Hold, SetProto and SetAuthenticated, which belong to the connection's own Handler calls, and Begin and End,
// between which the caller holds the output's lock: in between, call nothing but methods of the Writer, SetProto,
// CloseAfterFlush and Kill.
type Conn struct {
	srv    *Server
	nc     net.Conn
	raw    syscall.RawConn // nil where nc has no descriptor that can be read and written without blocking
	state  any
	remote string
	local  string
	opened int64 // server time

	// Set by any goroutine.
	outstanding atomic.Int64
	pending     atomic.Int64 // bytes of replies not yet written
	waiting     atomic.Int32 // a wait: what the reader sleeps for
	proto       atomic.Int32
	kicked      atomic.Bool // the reader has to look again before it sleeps
	closing     atomic.Bool // close after what was answered is written
	dirty       atomic.Bool // there may be output that nobody is writing
	queued      atomic.Bool // in the flusher's queue
	draining    atomic.Bool // a drain writes to the client: pending is part of Stats.Unread; changed under out.mu
	evicted     bool        // closed by relieve, which alone uses this
	unauth      atomic.Bool
	authBy      atomic.Int64 // server time; with unauth
	failure     atomic.Pointer[error]
	wake        chan struct{} // only where raw is nil: ends watch

	commands, bytesIn, bytesOut, lastRead atomic.Int64
	lastReply                             atomic.Int64 // kept only with an IdleTimeout

	out outlet
	in  intake

	connected bool // the reader's: Connect returned no error
}

// outlet is the output of a connection: replies gather in w until a flush writes them.
type outlet struct {
	mu      sync.Mutex
	turns   atomic.Uint64 // how often mu was taken
	w       *Writer       // nil while there is nothing to write
	mark    int           // len(w.b) at Begin
	dead    bool          // nothing is written any more
	drained chan struct{}

	writeFn func(fd uintptr) bool // made once, so that a flush allocates nothing
	n       int                   // what writeFn wrote
	err     error
}

// State returns what Handler.Connect returned.
func (c *Conn) State() any { return c.state }

// Hold says that one more reply is outstanding: a later End(1) pays it back. To be called within
// Handler.Command, before anybody can answer.
func (c *Conn) Hold() { c.outstanding.Add(1) }

// Outstanding returns how many replies are promised and not yet written.
func (c *Conn) Outstanding() int { return int(c.outstanding.Load()) }

// Begin locks the output and returns the writer for it. Every Begin is followed by one End, soon: nothing else
// can be answered or flushed in between.
func (c *Conn) Begin() *Writer {
	o := &c.out
	o.lock()
	if o.w == nil {
		o.w = getWriter()
	}
	o.w.proto3 = c.proto.Load() == 3
	o.mark = len(o.w.b)
	return o.w
}

// End unlocks the output. answered says how many outstanding replies (see Hold) were written; 0 for a command
// that is answered at once. Nothing is sent before a flush; after the handler's own calls that happens by itself.
func (c *Conn) End(answered int) {
	o := &c.out
	hard, more := false, false
	if grown := len(o.w.b) - o.mark; grown > 0 {
		c.dirty.Store(true)
		hard = c.pending.Add(int64(grown)) > c.srv.limits.OutputHard.Load()
		if more = c.draining.Load(); more {
			c.srv.stats.Unread.Add(int64(grown))
		}
	}
	if o.dead {
		c.dropLocked()
	}
	o.mu.Unlock()
	if hard {
		c.fail(ErrOutputLimit)
	}
	if more && c.srv.over() {
		c.srv.relieve()
	}
	if answered > 0 {
		if c.srv.limits.IdleTimeout.Load() > 0 {
			c.lastReply.Store(c.srv.now()) // who waited for a reply was not idle until now
		}
		c.outstanding.Add(int64(-answered))
		c.nudge()
	}
}

// SetProto chooses RESP 2 or 3 for the replies from the next Begin on.
func (c *Conn) SetProto(proto int) { c.proto.Store(int32(proto)) }

// Proto returns 2 or 3.
func (c *Conn) Proto() int { return int(c.proto.Load()) }

// SetAuthenticated says whether this client may send large commands and take its time. A new connection counts
// as authenticated; SetAuthenticated(false) (in Connect, where a password is required, or after RESET) puts it
// under the Unauth limits and starts Limits.AuthTimeout.
func (c *Conn) SetAuthenticated(yes bool) {
	if !yes {
		c.authBy.Store(c.srv.now() + int64(c.srv.limits.AuthTimeout.Load()))
	}
	c.unauth.Store(!yes)
}

// CloseAfterFlush lets the connection end once what was answered so far is written: no further command of it
// runs and replies still outstanding are not waited for.
func (c *Conn) CloseAfterFlush() { c.closeWith(ErrClosing) }

func (c *Conn) closeWith(why error) {
	c.failure.CompareAndSwap(nil, &why)
	c.closing.Store(true)
	c.kick()
}

// Kill closes the connection at once, written or not.
func (c *Conn) Kill() { c.kill(ErrKilled) }

func (c *Conn) kill(why error) {
	c.fail(why)
	_ = c.nc.Close() // the reader sees it; a second close is harmless
}

// RemoteAddr is the client's address, "ip:port" or, for a unix socket, "path:0" as Redis has it.
func (c *Conn) RemoteAddr() string { return c.remote }

// LocalAddr is the address that the client connected to, in the same form.
func (c *Conn) LocalAddr() string { return c.local }

// Counters returns the connection's numbers.
func (c *Conn) Counters() Counters {
	now := c.srv.now()
	return Counters{
		Commands: c.commands.Load(),
		BytesIn:  c.bytesIn.Load(),
		BytesOut: c.bytesOut.Load(),
		Pending:  c.pending.Load(),
		AgeMs:    (now - c.opened) / int64(time.Millisecond),
		IdleMs:   (now - c.lastRead.Load()) / int64(time.Millisecond),
	}
}

// addr phrases an address as Redis does.
func addr(own, server net.Addr) string {
	if u, ok := server.(*net.UnixAddr); ok {
		return u.Name + ":0"
	}
	return own.String()
}

// fail notes why the connection has to end (the first reason counts) and makes the reader end it.
func (c *Conn) fail(why error) {
	c.failure.CompareAndSwap(nil, &why)
	c.kick()
}

func (c *Conn) failed() error {
	if p := c.failure.Load(); p != nil {
		return *p
	}
	return nil
}
