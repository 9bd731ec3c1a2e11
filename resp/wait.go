package resp

import "time"

// A wait is what the reader sleeps for, besides bytes and the end of the connection.
type wait int32

const (
	waitBytes wait = iota // only for bytes
	waitZero              // until no reply is outstanding
	waitRoom              // until half of the pipeline's commands are answered
	waitDrain             // until half of the output is taken
	waitEnd               // for the end: the server shuts down
)

// met says whether the reader has no reason to sleep for w.
func (c *Conn) met(w wait) bool {
	switch w {
	case waitZero:
		return c.outstanding.Load() <= 0
	case waitRoom:
		// Half, so that the reader is not woken for each single reply.
		return c.outstanding.Load() <= c.srv.limits.PipelineCommands.Load()/2
	case waitDrain:
		return c.pending.Load() <= c.srv.limits.Output.Load()/2
	default:
		return false
	}
}

// nudge wakes the reader if what it sleeps for has come. The reader stores what it waits for and then looks
// whether that has come; callers change the numbers and then look whether the reader waits: one of them sees it.
func (c *Conn) nudge() {
	w := c.waiting.Load()
	if w == int32(waitBytes) || !c.met(wait(w)) {
		return
	}
	if c.waiting.CompareAndSwap(w, int32(waitBytes)) {
		c.kick()
	}
}

// longAgo is a deadline that has passed for every clock, a simulated one too.
var longAgo = time.Unix(1, 0)

// kick makes the reader look again, wherever it sleeps. kicked is set before the deadline: a reader that
// replaces the deadline with its own looks at kicked after that and before it sleeps.
func (c *Conn) kick() {
	c.kicked.Store(true)
	_ = c.nc.SetReadDeadline(longAgo) // fails on a closed connection only, whose reader is awake
	if c.wake != nil {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}
