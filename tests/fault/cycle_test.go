package fault

import (
	"fmt"
	"strconv"
	"time"

	"github.com/redlockd/redlockd/tests/check"
	"github.com/redlockd/redlockd/tests/harness"
)

// cycle takes a lock and gives it back: mostly one of its own, in one piece, for many answers; else one that others
// want, with all that can be done to it in between.
func (c *client) cycle() error {
	c.took++
	switch n := c.random.IntN(100); {
	case n < 55 && c.kind == isAnonymous:
		return c.ownLock()
	case n == 55:
		return c.force()
	case n == 56 && c.kind == isAnonymous:
		return c.leave()
	}
	return c.sharedLock()
}

// ownLock goes through a lock that nobody else wants, all in one piece.
func (c *client) ownLock() error {
	key := fmt.Sprintf("own:%s:%d", c.owner, c.took/cyclesOfName)
	times := 1 + c.random.IntN(3)
	var steps []*step
	for range times {
		steps = append(steps, c.acquire(key, -1, 0))
	}
	steps = append(steps, c.step(check.Count, key), c.step(check.Fence, key))
	for range times {
		steps = append(steps, c.step(check.Release, key))
	}
	err := c.send(steps...)
	for _, s := range steps {
		s.over()
	}
	return err
}

// force takes a contended lock from whoever has it.
func (c *client) force() error { return c.ask(c.step(check.Force, c.l.sharedName(c.random))) }

// leave ends the connection as a client does that has had enough.
func (c *client) leave() error {
	c.l.ends(c.owner, c.l.h.Now())
	_ = c.conn.Close()
	c.conn = nil
	return nil
}

// sharedLock takes a contended lock, visits what it guards, and gives it back.
func (c *client) sharedLock() error {
	key := c.l.sharedName(c.random)
	lease, timeout := time.Duration(0), time.Duration(-1)
	if c.random.IntN(5) == 0 {
		lease = time.Duration(50+c.random.IntN(500)) * time.Millisecond
	}
	if c.random.IntN(3) == 0 {
		timeout = time.Duration(c.random.IntN(3)) * 100 * time.Millisecond
	}
	got := c.acquire(key, timeout, lease).noted()
	if err := c.ask(got); err != nil || got.value == 0 {
		return err
	}
	visit, in := c.l.h.Enter(c.owner, key, got.value)
	times, fence := 1, got.value
	if c.random.IntN(3) == 0 {
		again := c.acquire(key, -1, lease)
		if err := c.ask(again); err != nil {
			return err
		}
		if again.value > 0 {
			times++
			if again.value != got.value {
				times, fence = 1, again.value // the first has ended: this one is another hold
			}
		}
	}
	if err := c.within(key, fence, lease); err != nil {
		return err
	}
	if in {
		visit.Leave()
	}
	for range times {
		s := c.step(check.Release, key)
		if c.random.IntN(4) == 0 {
			s.naming(fence)
		}
		if err := c.ask(s); err != nil {
			return err
		}
		if s.code == "CLUSTERDOWN" {
			return c.leave() // that gives it back
		}
		if s.code != "" {
			return nil
		}
	}
	return nil
}

// within is what a client does while it has a lock.
func (c *client) within(key string, fence int64, lease time.Duration) error {
	switch c.random.IntN(8) {
	case 0:
		return c.ask(c.step(check.Count, key))
	case 1:
		return c.ask(c.step(check.Owns, key))
	case 2:
		return c.ask(c.step(check.Fence, key))
	case 3:
		if lease > 0 { // longer or shorter
			s := c.step(check.Renew, key, strconv.FormatInt(lease.Milliseconds(), 10))
			s.lease = lease
			return c.ask(s)
		}
	case 4:
		if lease > 0 { // till it is over
			harness.Poll(lease+20*time.Millisecond, c.l.over.Load)
		}
	case 5:
		harness.Poll(time.Duration(c.random.IntN(3))*time.Millisecond, c.l.over.Load)
	case 7:
		return c.ask(c.step(check.Release, key).naming(fence + 1)) // it means another hold: nothing may come of it
	case 6:
		if c.kind == isFickle && c.random.IntN(4) == 0 {
			return c.stayAway()
		}
	}
	return nil
}

// stayAway closes the connection for a while, perhaps until the session has ended.
func (c *client) stayAway() error {
	_ = c.conn.Close()
	c.conn = nil
	c.away = true
	defer func() { c.away = false }()
	harness.Poll(time.Duration(c.random.Int64N(int64(2*c.ttl))), c.l.over.Load)
	var err error
	if !harness.Poll(2*harness.Patience, func() bool { err = c.connect(); return c.conn != nil }) {
		c.l.fault("client %d: no node takes it in any more: %v", c.id, err)
		return errGone
	}
	return nil // if its session has ended, the next request is told
}
