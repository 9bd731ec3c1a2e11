package sim

import (
	"fmt"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/tests/check"
)

// alias is a new owner of the client's session: a label of its own, or none.
func (c *client) alias(label string) string {
	c.ids++
	s := c.session
	if s == nil {
		name := fmt.Sprintf("%s/%s%d", c.owner, label, c.ids)
		c.aliases = append(c.aliases, name)
		return name
	}
	name := fmt.Sprintf("%s/%s%d.%d", s.name, label, c.id, c.ids)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aliases = append(s.aliases, name)
	c.w.hist.Forgets(name, s.noticesLast())
	if s.doomed { // what may end the session may still be on its way
		c.w.hist.End(name, c.w.hist.Now(), check.Never)
	}
	return name
}

// unlabelled takes a lock in its session without a label: in a named one each
// request is an owner of its own, and two of them exclude each other.
func (c *client) unlabelled(key string) {
	if c.session == nil {
		return
	}
	take := func() *call {
		return &call{owner: c.alias("u"), untold: true, op: fsm.Op{Code: fsm.OpTryLock, Key: []byte(key), Timeout: c.rng.Int64N(2) * c.rng.Int64N(3000)}}
	}
	x := take()
	if c.chance(30) {
		x.op.Lease = c.lease()
	}
	if !c.ask(c.patience(), x) || x.reply.Code != fsm.CodeOK || x.reply.Int == 0 {
		return
	}
	c.doubts = true // it holds something that others may wait for
	c.w.stats.add("held without a label", 1)
	if visit, ok := c.w.hist.Enter(x.owner, key, x.reply.Int); ok {
		defer visit.Leave()
	}
	if c.chance(50) {
		y := take()
		y.op.Timeout = c.rng.Int64N(200)
		if !c.ask(c.patience(), y) {
			return
		}
		if y.reply.Code == fsm.CodeOK && y.reply.Int > 0 {
			defer c.giveBack(y)
		}
	}
	c.sleep(c.around(500 * time.Millisecond))
	if c.ensureSame() && c.chance(30) {
		y := &call{owner: x.owner, untold: true, op: fsm.Op{Code: fsm.OpRenew, Key: x.op.Key, Fence: uint64(x.reply.Int), Lease: c.lease()}}
		c.ask(c.patience(), y)
	}
	c.giveBack(x)
}

// giveBack releases what a call was granted, by its fence.
func (c *client) giveBack(x *call) {
	if !c.ensureSame() || c.chance(5) {
		return
	}
	y := &call{owner: x.owner, untold: x.untold, op: fsm.Op{Code: fsm.OpUnlock, Key: x.op.Key, Owner: x.op.Owner, Fence: uint64(x.reply.Int)}}
	c.ask(c.patience(), y)
	if y.done && y.reply.Code == fsm.CodeOK && y.reply.Int == 0 {
		c.forgetAlias(x.owner)
	}
}

// async asks for a lock without waiting for it, and asks again for what became of
// that, or takes it back.
func (c *client) async(key string) {
	c.ids++
	label := fmt.Sprint("y", c.id, ".", c.ids)
	x := c.acquire(key)
	x.owner, x.op.Owner, x.op.Flags = c.alias("y"), []byte(label), fsm.FlagAsync
	c.newID(x)
	if s := c.session; s != nil && (x.op.Lease == 0 || x.op.Lease > s.ttl.Milliseconds()) {
		// Who does not ask again within the TTL has it taken away.
		c.begin(x)
		x.note.Lease(ms(s.ttl.Milliseconds()))
	}
	c.ask(c.patience(), x)
	waits := x.done && x.reply.Code == fsm.CodeOK && x.reply.Int < 0
	for tries := c.rng.IntN(6); waits && tries > 0; tries-- {
		c.sleep(c.around(300 * time.Millisecond))
		if !c.ensureSame() {
			break
		}
		waits = c.again(x)
	}
	switch {
	case waits:
		c.takeBack(x)
	case x.done && x.reply.Code == fsm.CodeOK && x.reply.Int > 0:
		c.w.stats.add("granted while not waited for", 1)
		c.doubts = c.doubts || c.session != nil
		visit, ok := c.w.hist.Enter(x.owner, key, x.reply.Int)
		c.sleep(c.around(300 * time.Millisecond))
		if ok {
			visit.Leave()
		}
		if c.chance(50) {
			c.giveBack(x)
		} else {
			c.takeBack(x)
		}
	}
}

// again asks what became of an ASYNC call; true: it is in line.
func (c *client) again(x *call) bool {
	y := &call{op: x.op, owner: x.owner, again: true}
	c.exchange(c.patience(), []*call{y})
	if !y.done || y.reply.Code == fsm.CodeClusterDown {
		return true // not known
	}
	c.w.stats.add("asked for an ASYNC wait", 1)
	x.reply = y.reply
	switch r := y.reply; {
	case r.Code == fsm.CodeOK && r.Int < 0:
		return true
	case r.Code == fsm.CodeOK && r.Int == 0 && x.op.Code == fsm.OpTryLock:
		x.note.Refused()
		c.forgetAlias(x.owner)
	case r.Code == fsm.CodeOK:
		x.note.Done(r.Int)
	case r.Code == fsm.CodeLockLost:
		x.note.Lost()
	case r.Code == fsm.CodeUncertain || r.Code == fsm.CodeNoSession:
		x.note.Unknown()
	default:
		x.note.Nothing()
	}
	return false
}

// takeBack withdraws an ASYNC call, or releases its grant; in both cases its owner
// does nothing more.
func (c *client) takeBack(x *call) {
	granted := x.reply.Int > 0
	unknown := func() {
		if !granted {
			x.note.Unknown()
			c.doubts = c.doubts || c.session != nil
		}
	}
	if !c.ensureSame() {
		unknown()
		return
	}
	y := &call{op: fsm.Op{Code: fsm.OpUnwait, Key: x.op.Key, Owner: x.op.Owner, ID: x.op.ID}, owner: x.owner}
	if granted {
		y.note = c.w.hist.Begin(x.owner, check.Release, string(x.op.Key))
	}
	c.exchange(c.patience(), []*call{y})
	answered := y.done && y.reply.Code == fsm.CodeOK
	c.w.stats.add("UNWAIT", 1)
	switch {
	case granted && answered && y.reply.Int == 1:
		c.forgetAlias(x.owner)
		return
	case granted:
		if !y.done {
			y.settle(true)
		}
		return
	}
	unknown()
	if answered && y.reply.Int == 1 {
		c.forgetAlias(x.owner)
		c.w.hist.MayEnd(x.owner, c.w.at(x.sent))
		c.w.hist.MustEnd(x.owner, c.w.hist.Now())
	}
}

// forgetAlias drops an owner that has nothing and will not come again.
func (c *client) forgetAlias(name string) {
	without := func(all []string) []string {
		for i, a := range all {
			if a == name {
				return append(all[:i:i], all[i+1:]...)
			}
		}
		return all
	}
	if c.session == nil {
		c.aliases = without(c.aliases)
		return
	}
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	c.session.aliases = without(c.session.aliases)
}

// move goes on in the same session over another connection, most often to another
// node, and closes the former one later.
func (c *client) move() {
	if c.session == nil {
		return
	}
	former := c.link
	c.link, c.former = nil, former
	if c.ensure() {
		c.w.stats.add("moved to another connection", 1)
		c.section()
	}
	c.former = nil
	former.drop(errLeaves, 0)
	if c.link == nil {
		c.mayEnd(former, former.earliest())
	}
}
