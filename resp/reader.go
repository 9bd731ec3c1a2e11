package resp

import (
	"bytes"
	"errors"
	"io"
	"os"
	"runtime/debug"

	"github.com/tidwall/redcon"
)

// serve is a connection's reader goroutine: it lives as long as the connection, reads, runs the commands, and
// sleeps with a shallow stack.
func (c *Conn) serve() {
	defer c.srv.leave(c)
	c.finish(c.converse())
}

func (c *Conn) converse() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = c.panicked(r, debug.Stack())
		}
	}()
	if err := tune(c.nc, c.srv.limits.TCPTimeout.Load()); err != nil {
		c.srv.log.Debug("cannot set TCP options", "client", c.remote, "error", err)
	}
	if err := c.greet(); err != nil {
		return err
	}
	for {
		until, err := c.process()
		if err != nil {
			return err
		}
		if err := c.await(until); err != nil {
			return err
		}
	}
}

func (c *Conn) greet() error {
	state, err := c.srv.handler.Connect(c)
	if err != nil {
		return refusal{err}
	}
	c.state, c.connected = state, true
	return nil
}

// process runs what can be run of what was read, ends the burst, sends the replies, and says what the reader has
// to sleep for.
func (c *Conn) process() (until wait, err error) {
	ran := 0
	for more := true; more; {
		if until, err = c.mayRun(); until != waitBytes || err != nil {
			break
		}
		if more, err = c.step(&ran); err != nil {
			break
		}
	}
	if ran > 0 {
		c.commands.Add(int64(ran))
		c.srv.stats.Commands.Add(uint64(ran))
		c.srv.stats.Bursts.Add(1)
		c.srv.handler.Burst(c)
	}
	c.Flush()
	return until, err
}

// mayRun says what a further command has to wait for, waitBytes if for nothing; an error ends the connection.
func (c *Conn) mayRun() (wait, error) {
	in, lim := &c.in, c.srv.limits
	if err := c.failed(); err != nil {
		return waitBytes, err
	}
	if c.srv.draining.Load() {
		return waitEnd, nil
	}
	open := c.outstanding.Load()
	if open <= 0 {
		in.held = 0
	}
	switch {
	case open > 0 && (in.parked || in.fault != nil || int64(in.held) >= lim.PipelineBytes.Load()):
		return waitZero, nil
	case in.fault != nil:
		return waitBytes, in.fault // only now: the replies before it are written
	case open >= lim.PipelineCommands.Load():
		return waitRoom, nil
	case c.pending.Load() >= lim.Output.Load():
		if c.Flush(); c.pending.Load() >= lim.Output.Load() {
			return waitDrain, nil
		}
	}
	return waitBytes, nil
}

// step runs the command of the frame at hand. more is false when that is incomplete.
func (c *Conn) step(ran *int) (more bool, err error) {
	in := &c.in
	if in.unread() == 0 {
		return false, nil
	}
	lim := c.srv.limits.of(c.unauth.Load())
	n, err := in.frame.next(in.buf.b[in.r:in.w], lim)
	if n == 0 && err == nil {
		if in.since == 0 {
			in.since = c.srv.now() // not when it came: we may not have looked until now
		}
		return false, nil
	}
	var args [][]byte
	if err == nil {
		args, err = in.split(n, lim)
	}
	if err != nil {
		in.fault = err // mayRun returns it once the replies before it are written
		return true, nil
	}
	if len(args) > 0 {
		if foreign(args[0]) {
			return false, ErrForeign
		}
		open := c.outstanding.Load()
		if !c.srv.handler.Command(c, args) {
			if open <= 0 {
				return false, c.misused()
			}
			in.parked = true
			return true, nil
		}
		*ran++
		if c.outstanding.Load() > 0 {
			in.held += n
		}
	}
	in.consume(n)
	return true, nil
}

// split returns the arguments of the complete frame at r, of n bytes. Only here, behind our own validation, does
// redcon see bytes of a client.
func (in *intake) split(n int, lim frameLimits) ([][]byte, error) {
	b := in.buf.b[in.r : in.r+n]
	var err error
	args := in.buf.args[:0]
	switch in.frame.kind {
	case kindEmpty:
		return nil, nil
	case kindInline:
		if args, err = splitInline(b, args); err == nil && len(args) > lim.args {
			err = errTooManyArgs(lim.args)
		}
	case kindMultibulk:
		var complete bool
		if complete, args, _, _, err = redcon.ReadNextCommand(b, args); err != nil || !complete {
			err = errMultibulkLength // cannot be: our framer is the stricter of the two
		}
	}
	in.buf.args = args[:0]
	return args, err
}

// foreign tells the commands by which a web browser, made to send a request here, gives itself away.
func foreign(name []byte) bool {
	switch len(name) {
	case 4:
		return bytes.EqualFold(name, []byte("POST"))
	case 5:
		return bytes.EqualFold(name, []byte("Host:"))
	default:
		return false
	}
}

// await sleeps until bytes came, the connection ended or what until names has come.
func (c *Conn) await(until wait) error {
	in, lim := &c.in, c.srv.limits
	read := until == waitBytes
	if !read {
		in.since = 0 // the client is not to blame for the time in which we do not look at its bytes
		c.waiting.Store(int32(until))
		if c.met(until) {
			c.waiting.Store(int32(waitBytes))
			return nil
		}
		// While one command waits for a reply, go on reading within limits: so the end of the connection shows,
		// also behind further commands.
		read = until == waitZero && in.fault == nil && c.outstanding.Load() < lim.PipelineCommands.Load() &&
			int64(in.held+in.unread()) < lim.PipelineBytes.Load()
	}
	c.arm()
	if c.kicked.Load() {
		c.kicked.Store(false)
		c.waiting.Store(int32(waitBytes))
		in.stale = true
		return nil
	}
	var err error
	if read {
		err = c.read()
	} else {
		err = c.watch()
	}
	if until != waitBytes {
		c.waiting.Store(int32(waitBytes))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.kicked.Store(false)
		in.stale = true
		return c.overdue()
	}
	return err
}

// read sleeps until bytes came and appends them to the input.
func (c *Conn) read() error {
	in := &c.in
	in.n, in.err = 0, nil
	if c.raw != nil {
		if err := c.raw.Read(in.readFn); err != nil {
			return err
		}
	} else {
		in.room()
		in.n, in.err = c.nc.Read(in.buf.b[in.w:])
		in.w += in.n
	}
	if in.n > 0 {
		c.lastRead.Store(c.srv.now())
		c.bytesIn.Add(int64(in.n))
		c.srv.stats.BytesIn.Add(uint64(in.n))
		return nil // an error comes again with the next read
	}
	return in.err
}

// watch sleeps without reading until the client closes the connection, a deadline comes or somebody kicks.
func (c *Conn) watch() error {
	if c.raw == nil {
		<-c.wake
		return nil
	}
	c.in.settle()
	if err := c.raw.Read(c.in.goneFn); err != nil {
		return err
	}
	return io.EOF
}
