package sim

import (
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// hush holds a lock in a HEARTBEAT session, and says nothing for nearly its TTL, again
// and again; most of its words are PINGs, which come to the cluster with a keepalive.
func (c *client) hush() {
	s, key := c.session, c.key()
	x := c.op(fsm.OpTryLock, key)
	if !c.ask(c.patience(), x) || x.reply.Code != fsm.CodeOK || x.reply.Int <= 0 {
		return
	}
	visit, ok := c.w.hist.Enter(c.owner, key, x.reply.Int)
	for range 1 + c.rng.IntN(4) {
		c.sleep(time.Until(c.link.spoke().Add(s.ttl * time.Duration(80+c.rng.IntN(17)) / 100)))
		if !c.ensureSame() {
			return
		}
		if c.chance(80) && c.link.ping() {
			c.w.stats.add("PINGs after a silence", 1)
			continue
		}
		if !c.ask(c.patience(), c.op(pick(c.rng, fsm.OpIsOwner, fsm.OpLockCount), key)) {
			return
		}
		c.w.stats.add("words after a silence", 1)
	}
	if ok {
		visit.Leave()
	}
	c.unlockAll(key)
}

// ping says a word that the node answers alone; false: not now.
func (l *link) ping() bool {
	if l.p.answers.closed() != nil || l.p.dead.Load() {
		return false
	}
	now := time.Now()
	l.conn.Touch()
	if l.conn.Alive() != nil || l.p.dead.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.touched = now
	return true
}
