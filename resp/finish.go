package resp

import (
	"errors"
	"io"
	"runtime/debug"
	"strings"
	"time"
)

// refusal is the error with which Connect turned a client away.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// finish ends the connection, in this order: the last words, the handler's Closed, the output that is still to be
// taken, the socket.
func (c *Conn) finish(err error) {
	if why := c.failed(); why != nil {
		err = why
	}
	c.count(err)
	c.lastWords(err)
	c.Flush()
	c.tellClosed(err)
	ours := c.closing.Load() || spoken(err)
	c.stopOutput(ours || errors.Is(err, io.EOF) || errors.Is(err, ErrForeign))
	if ours && !errors.Is(err, ErrShutdown) {
		c.linger()
	}
	_ = c.nc.Close()
	c.in.release()
}

// spoken tells the ends that we chose and say something about, from those that happened to us.
func spoken(err error) bool {
	var r refusal
	return errors.As(err, &r) || errors.Is(err, ErrProtocol) || errors.Is(err, ErrInternal) ||
		errors.Is(err, ErrAuthTimeout) || errors.Is(err, ErrFrameTimeout)
}

func (c *Conn) count(err error) {
	st := &c.srv.stats
	switch {
	case errors.Is(err, ErrProtocol):
		st.ProtocolErrors.Add(1)
	case errors.Is(err, ErrForeign):
		st.Foreign.Add(1)
		if n, ok := c.srv.foreignLog.open(c.srv.now()); ok {
			c.srv.log.Warn("possible attack: a client speaks HTTP to this port (POST or Host: as a command), "+
				"perhaps a web page that makes a browser do so; closed", "client", c.remote, "suppressed", n)
		}
	case errors.Is(err, ErrAuthTimeout), errors.Is(err, ErrFrameTimeout), errors.Is(err, ErrIdleTimeout),
		errors.Is(err, ErrWriteTimeout):
		st.Timeouts.Add(1)
	}
}

// lastWords tells the client why. Not while replies are outstanding: the client would take these words for one.
func (c *Conn) lastWords(err error) {
	if !spoken(err) || c.outstanding.Load() > 0 {
		return
	}
	w := c.Begin()
	defer c.End(0)
	var r refusal
	if errors.As(err, &r) {
		code, sentence := coded(r.Error())
		w.Error(code, sentence)
		return
	}
	w.Error("ERR", err.Error())
}

// coded splits a text into its code in capitals, ERR if it has none, and the sentence.
func coded(text string) (code, sentence string) {
	code, sentence, _ = strings.Cut(text, " ")
	if code == "" || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return "ERR", text
	}
	return code, sentence
}

func (c *Conn) tellClosed(err error) {
	if !c.connected {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			_ = c.panicked(r, debug.Stack())
		}
	}()
	c.srv.handler.Closed(c, err)
}

// stopOutput ends the output, after what it holds was taken if it may, and returns when nobody writes any more.
func (c *Conn) stopOutput(drain bool) {
	o := &c.out
	if !drain {
		_ = c.nc.Close() // frees a writer that waits for the client
	}
	o.mu.Lock()
	o.dead = o.dead || !drain
	if c.draining.Load() {
		o.drained = make(chan struct{})
		o.mu.Unlock()
		<-o.drained // the write deadline, a kill or a shutdown ends it
		o.mu.Lock()
	}
	o.dead = true
	c.dropLocked()
	o.mu.Unlock()
}

// linger waits a little for the client to close too. Closing at once with bytes of it unread would reset the
// connection, and the reset could overtake our last reply.
func (c *Conn) linger() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	d := c.srv.limits.Linger.Load()
	if !ok || d <= 0 || half.CloseWrite() != nil || c.nc.SetReadDeadline(time.Now().Add(d)) != nil {
		return
	}
	k := blocks.Get().(*block)
	defer putBlock(k)
	for budget := 64; budget > 0 && !c.srv.draining.Load(); budget-- {
		if _, err := c.nc.Read(k.b); err != nil {
			return
		}
	}
}

// panicked is called when the handler panicked in the reader goroutine.
func (c *Conn) panicked(r any, stack []byte) error {
	c.srv.stats.Panics.Add(1)
	c.srv.log.Error("internal error: a command's handler panicked; its connection is closed, please report this",
		"client", c.remote, "panic", r, "stack", string(stack))
	c.freeOutput()
	return ErrInternal
}

// misused is called when the handler parks a command although nothing is outstanding.
func (c *Conn) misused() error {
	c.srv.log.Error("internal error: a command was put off although no reply is outstanding; its connection is "+
		"closed, please report this", "client", c.remote, "stack", string(debug.Stack()))
	return ErrInternal
}

// panicPatience is how long a lock that nobody takes or frees must stay locked to count as the panicked handler's
// own. Others hold it for the microseconds of a reply or a write that does not wait.
const panicPatience = 500 * time.Millisecond

// freeOutput frees the output's lock if the handler panicked between Begin and End, so that nobody who answers
// this connection later hangs. The half reply is dropped.
func (c *Conn) freeOutput() {
	o := &c.out
	turn, since := o.turns.Load(), time.Now()
	for !o.mu.TryLock() {
		if t := o.turns.Load(); t != turn {
			turn, since = t, time.Now()
		}
		if time.Since(since) > panicPatience {
			o.w.b = o.w.b[:o.mark]
			break
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // who holds the lock has panicked: nothing will tell when it is free
	}
	o.mu.Unlock()
}
