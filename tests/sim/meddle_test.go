package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/tests/check"
)

// meddle does what an operator does, to others.
func (c *client) meddle() {
	key := c.key()
	switch c.rng.IntN(8) {
	case 6, 7:
		c.set()
	case 0, 1:
		x := &call{op: fsm.Op{Code: fsm.OpForceUnlock, Key: []byte(key)}}
		c.ask(c.patience(), x)
	case 2:
		if c.ask(c.patience(), &call{op: fsm.Op{Code: fsm.OpDestroy, Key: []byte(key), Note: []byte("gone")}}) {
			c.sleep(c.around(time.Second))
		}
		if c.ensure() {
			c.ask(c.patience(), &call{op: fsm.Op{Code: fsm.OpUndestroy, Key: []byte(key)}})
		}
	case 3:
		c.killSession()
	case 4:
		c.killConn()
	default:
		l := c.w.anyLink(c)
		if id := l.id(); id != 0 {
			l.unblocked.Store(true)
			c.ask(c.patience(), &call{op: fsm.Op{Code: fsm.OpUnblock, Target: uint64(id), Flags: pick(c.rng, 0, fsm.FlagError)}})
		}
	}
}

// anyLink returns a connection of another client, nil if there is none.
func (w *world) anyLink(but *client) *link {
	all := w.running()
	if len(all) == 0 {
		return nil
	}
	p := all[but.rng.IntN(len(all))]
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links { // any one will do
		if l != but.link {
			return l
		}
	}
	return nil
}

// id is the connection's, 0 if it has none.
func (l *link) id() fsm.ConnID {
	if l == nil || !l.conn.Known() {
		return 0
	}
	id, err := l.conn.ID()
	if err != nil {
		return 0
	}
	return id
}

// killConn ends another client's connection, in one of two ways.
func (c *client) killConn() {
	l := c.w.anyLink(c)
	id := l.id()
	if id == 0 {
		return
	}
	l.mu.Lock()
	// For good, also if this one comes to nothing: another one may be under way, which
	// its node hears of late.
	l.killed = earlier(l.killed, time.Now())
	l.mu.Unlock()
	x := &call{op: fsm.Op{Code: fsm.OpKillConn, Target: uint64(id)}}
	if c.chance(30) {
		x.op = fsm.Op{Code: fsm.OpSessionKill, Name: fmt.Append(nil, uint64(id.Session()))}
	}
	c.ask(c.patience(), x)
}

// killSession ends a named session, perhaps its own.
func (c *client) killSession() {
	c.w.mu.Lock()
	names := sorted(c.w.sessions)
	var s *session
	if len(names) > 0 {
		s = c.w.sessions[pick(c.rng, names...)]
	}
	c.w.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	s.killing++
	s.mu.Unlock()
	began := c.w.hist.Now()
	x := &call{op: fsm.Op{Code: fsm.OpSessionKill, Name: []byte(s.name)}}
	c.ask(c.patience(), x)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killing--
	switch {
	case x.done && x.reply.Code == fsm.CodeOK && x.reply.Int > 0:
		s.ends(c.w.hist, began, c.w.hist.Now())
		s.killed = true
		s.kills++
	case !x.done || x.reply.Code == fsm.CodeUncertain || x.reply.Code == fsm.CodeNoSession:
		s.ends(c.w.hist, began, check.Never)
		s.doomed = true
	}
}

// full says whether a call may be refused to the owner that holds the lock: it may hold
// it as often as lock-acquire-limit allows.
func (w *world) full(x *call) bool {
	key := string(x.op.Key)
	return x.reenters && w.limited.Load() && (strings.HasPrefix(key, "k0@") || strings.HasPrefix(key, "k1@"))
}

// set changes a setting of the cluster. None is ever lower than what the clients
// count on.
func (c *client) set() {
	name, value := fsm.SettingSessionTimeout, fmt.Sprint(c.w.conf.sessionTimeout.Milliseconds()*int64(2+c.rng.IntN(3))/2)
	switch c.rng.IntN(9) {
	case 4:
		name, value = fsm.SettingAcquireLimit, pick(c.rng, "0", "k0@*=1 k1@*=2 *=0", "k0@*=1 k1@*=2 *=0")
	case 5:
		name, value = fsm.SettingMaxIDs, pick(c.rng, "1", "5", "100000", "100000")
	case 6:
		name, value = fsm.SettingMaxSessionHolds, pick(c.rng, "1", "3", "1000000", "1000000")
	case 0:
		name, value = fsm.SettingMaxWaiters, pick(c.rng, "1", "2", "10000")
	case 1:
		name, value = fsm.SettingMaxHolds, pick(c.rng, "2", "5", "1000000", "1000000")
	case 2:
		name, value = fsm.SettingMaxDestroyed, pick(c.rng, "1", "100000")
	case 3:
		name, value = fsm.SettingFenceFloor, fmt.Sprint(c.rng.IntN(5000))
	}
	if name == fsm.SettingAcquireLimit {
		c.w.limited.Store(true)
	}
	c.w.stats.add("settings changed", 1)
	c.ask(c.patience(), &call{op: fsm.Op{Code: fsm.OpConfigSet, Name: []byte(name), Value: []byte(value)}})
}
