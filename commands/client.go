package commands

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/resp"
	"github.com/redlockd/redlockd/sessions"
)

// client is one connection between the wire and its session. Commands come in
// by its reader goroutine; answers of ops come by whoever delivers them.
type client struct {
	h  *Handler
	rc *resp.Conn
	sc Session

	// Of the reader goroutine alone.
	authed  bool
	barrier bool   // RESET or the like is under way: what comes behind it waits
	op      fsm.Op // scratch of the command being parsed

	readOnly, asking bool // READONLY, ASKING: see redirect.go
	subscribed       int  // channels and patterns

	last atomic.Pointer[Spec] // newest command, for CLIENT LIST

	mu              sync.Mutex
	libName, libVer string
	cancel          func() // ends the newest of what later began
	gone            bool   // closed
	backup          *backup

	subs subscriptions // with the hub's lock

	// Of the goroutine that delivers answers; sessions calls Answer, Flush and
	// Close of one connection never at the same time.
	w        *resp.Writer // between the first Answer and Flush
	answered int
}

var _ sessions.Answerer = (*client)(nil)

// command runs one command, or says "not now". Ops fly: they are answered in
// order by themselves. Whatever is answered here must wait until nothing is
// outstanding, or its reply would overtake theirs.
func (c *client) command(args [][]byte) bool {
	spec, p := c.h.table.resolve(args)
	if p == noProblem && spec.isOp() && c.authed && !c.barrier {
		if p = c.elsewhere(spec, args); p == noProblem {
			c.op = fsm.Op{}
			p = spec.parse(args, &c.op)
		}
		if p == noProblem {
			c.do(spec)
			return true
		}
	}
	if c.rc.Outstanding() > 0 {
		return false
	}
	if c.barrier {
		c.barrier = false
		return c.command(args)
	}
	if spec == nil {
		c.fail(p)
		return true
	}
	c.last.Store(spec)
	if p == noProblem {
		p = c.mayRun(spec)
	}
	if p != noProblem {
		spec.counts.rejected.Add(1)
		c.fail(p)
		return true
	}
	if spec.isOp() { // the password was dropped since the connection came
		return c.command(args)
	}
	spec.counts.calls.Add(1)
	c.asking = false
	spec.run(c, args)
	return true
}

// do sends c.op to the machine and promises one reply, which spec phrases.
func (c *client) do(spec *Spec) {
	if c.last.Load() != spec {
		c.last.Store(spec)
	}
	if spec.isOp() {
		spec.counts.calls.Add(1)
	}
	c.rc.Hold()
	c.sc.Do(c.op, spec)
}

// Answer implements sessions.Answerer: the tag is the Spec of the command.
func (c *client) Answer(op *fsm.Op, tag any, r *fsm.Reply) {
	spec, ok := tag.(*Spec)
	if !ok {
		return
	}
	if c.w == nil {
		c.w = c.rc.Begin()
	}
	c.answered++
	if r.Code == fsm.CodeOK {
		spec.phrase(c.w, op, r)
		return
	}
	spec.counts.failed.Add(1)
	code, sentence := phraseError(op, r)
	c.w.Error(code, sentence)
}

// finish gives the output back after the last answer of a delivery; false:
// there was none.
func (c *client) finish() bool {
	if c.w == nil {
		return false
	}
	answered := c.answered
	c.w, c.answered = nil, 0
	c.rc.End(answered)
	return true
}

// Flush implements sessions.Answerer.
func (c *client) Flush() {
	if c.finish() {
		c.rc.Flush()
	}
}

// Close implements sessions.Answerer. It may come from any goroutine while
// another is between Answer and Flush, so it leaves the writer alone: what was
// answered is written before the connection ends.
func (c *client) Close(error) { c.rc.CloseAfterFlush() }

// FlushAll makes what sessions.Options.FlushAll needs: the replies of one
// delivery go out by the RESP server's flush workers.
func FlushAll(srv *resp.Server) func([]sessions.Answerer) {
	scratch := sync.Pool{New: func() any { return new([]*resp.Conn) }}
	return func(answerers []sessions.Answerer) {
		conns := scratch.Get().(*[]*resp.Conn)
		for _, a := range answerers {
			if c, ok := a.(*client); ok && c.finish() {
				*conns = append(*conns, c.rc)
			}
		}
		srv.FlushAll(*conns)
		clear(*conns)
		*conns = (*conns)[:0]
		scratch.Put(conns)
	}
}

// The shortest ways to answer a command at once.

func (c *client) fail(p problem) {
	code, sentence, _ := strings.Cut(string(p), " ")
	w := c.rc.Begin()
	w.Error(code, sentence)
	c.rc.End(0)
}

// failed is fail for a command that ran and found that it cannot be done.
func (c *client) failed(p problem) {
	if s := c.last.Load(); s != nil {
		s.counts.failed.Add(1)
	}
	c.fail(p)
}

func (c *client) ok() {
	w := c.rc.Begin()
	w.OK()
	c.rc.End(0)
}

func (c *client) integer(n int64) {
	w := c.rc.Begin()
	w.Int(n)
	c.rc.End(0)
}

func (c *client) bulk(b []byte) {
	w := c.rc.Begin()
	w.Bulk(b)
	c.rc.End(0)
}

func (c *client) prose(text string) {
	w := c.rc.Begin()
	w.Verbatim("txt", text)
	c.rc.End(0)
}
