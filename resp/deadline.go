package resp

import "time"

// arm sets the read deadline if what is due comes before what is set. A deadline that is set too early only makes
// the reader look again, so it is not moved for each read.
func (c *Conn) arm() {
	in := &c.in
	now := int64(0)
	if c.unauth.Load() || in.since != 0 || c.srv.limits.IdleTimeout.Load() > 0 {
		now = c.srv.now()
	}
	at, _ := c.due(now)
	if !in.stale && (at == 0 || (in.armed != 0 && in.armed <= at)) {
		return
	}
	var t time.Time
	if at != 0 {
		t = time.Now().Add(time.Duration(at - now))
	}
	_ = c.nc.SetReadDeadline(t) // fails on a closed connection only, and then the read fails too
	in.armed, in.stale = at, false
}

// due returns when, in server time, the connection is to be closed if nothing comes, 0 for never, and why.
func (c *Conn) due(now int64) (at int64, why error) {
	first := func(t int64, err error) {
		if at == 0 || t < at {
			at, why = t, err
		}
	}
	if c.unauth.Load() {
		first(c.authBy.Load(), ErrAuthTimeout)
	}
	if c.in.since != 0 {
		first(c.in.since+int64(c.srv.limits.FrameTimeout.Load()), ErrFrameTimeout)
	}
	if idle := int64(c.srv.limits.IdleTimeout.Load()); idle > 0 {
		if c.outstanding.Load() > 0 {
			first(now+idle, ErrIdleTimeout)
		} else {
			first(max(c.lastRead.Load(), c.lastReply.Load())+idle, ErrIdleTimeout)
		}
	}
	return at, why
}

// overdue says whether a deadline has really passed.
func (c *Conn) overdue() error {
	now := c.srv.now()
	if at, why := c.due(now); at != 0 && at <= now {
		return why
	}
	return nil
}
