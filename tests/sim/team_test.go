package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// mates are the further connections of a named session, and how long they keep it.
type mates struct {
	links map[*link]fsm.SessionID // what each is attached to
	// until is how long the session lasts that the latest of them has left.
	until time.Time
	of    fsm.SessionID
}

func (m *mates) String() string {
	return fmt.Sprintf("%d more connections are in it, one that left keeps session %d until %v", len(m.links), m.of, m.until)
}

// joins notes one more connection of a session; false: of another life of it.
func (s *session) joins(l *link, id fsm.SessionID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id != s.id || id == 0 {
		return false
	}
	if s.mates.links == nil {
		s.mates.links = map[*link]fsm.SessionID{}
	}
	s.mates.links[l] = id
	return true
}

// leaves notes that a further connection is gone: the session's time runs.
func (s *session) leaves(l *link) {
	end := l.earliest().Add(ms(s.ttl.Milliseconds()))
	s.mu.Lock()
	defer s.mu.Unlock()
	if id, ok := s.mates.links[l]; ok && (id != s.mates.of || end.After(s.mates.until)) {
		s.mates.of, s.mates.until = id, end
	}
	delete(s.mates.links, l)
}

// kept says whether further connections must have kept that life of the session until
// now, whatever became of its client's own; mu is held. HEARTBEAT is another matter:
// they must speak.
func (s *session) kept(id fsm.SessionID) bool {
	if s.heartbeat {
		return false
	}
	for l, of := range s.mates.links {
		if at := l.earliest(); of == id && (at.IsZero() || time.Now().Before(at.Add(ms(s.ttl.Milliseconds())))) {
			return true
		}
	}
	return s.mates.of == id && time.Now().Before(s.mates.until)
}

// life is the session's id as its client knows it.
func (s *session) life() fsm.SessionID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// team works in the session over two connections at once, most often to two nodes.
func (c *client) team() {
	if c.session == nil || c.lead != nil {
		return
	}
	m := c.mate()
	if m == nil {
		return
	}
	c.doubts = true // the mate may hold, and wait for, what others wait for
	c.w.stats.add("teams", 1)
	c.handOver(m)
	c.crowd(m)
	left := make(chan struct{})
	go func() {
		defer close(left)
		m.workAlong()
	}()
	for busy := true; busy; {
		select {
		case <-left:
			busy = false
			continue
		default:
		}
		c.sleep(c.around(300 * time.Millisecond))
		switch {
		case c.finishing():
			<-left
		case !c.ensure():
		case c.chance(20):
			c.die() // the mate's connection keeps the session
		default:
			c.section()
		}
	}
	if m.link != nil && c.chance(50) {
		c.ensure() // is it the same session?
	}
	m.hangUp(errLeaves)
}

// mate attaches one more connection to the client's session, nil: not now.
func (c *client) mate() *client {
	all := slices.DeleteFunc(c.w.running(), func(p *process) bool {
		return !p.serves() || c.link != nil && p == c.link.p && c.chance(80)
	})
	if len(all) == 0 {
		return nil
	}
	l, err := c.w.connect(all[c.rng.IntN(len(all))], c.session.clientName())
	if err != nil {
		return nil
	}
	c.teams++
	id := 10_000*(c.id+1) + c.teams
	m := &client{
		w: c.w, id: id, rng: rand.New(rand.NewPCG(c.w.seed, uint64(id))), session: c.session, lead: c, link: l,
		label: fmt.Sprint("m", id), holds: map[string]int{}, fences: map[string]int64{},
	}
	m.owner = m.alias("m")
	a := &call{op: c.session.attachment()}
	if m.ask(10*time.Second, a) && a.reply.Code == fsm.CodeOK {
		life := fsm.SessionID(a.reply.Int)
		if x, ok := a.reply.Data.(*fsm.Attached); ok {
			life = x.Session
		}
		if c.session.joins(l, life) {
			return m
		}
	}
	m.hangUp(errLeaves)
	return nil
}

// workAlong is what a mate does meanwhile.
func (c *client) workAlong() {
	for range 1 + c.rng.IntN(5) {
		c.sleep(c.around(500 * time.Millisecond))
		if !c.ensureSame() {
			return
		}
		switch c.rng.IntN(4) {
		case 0, 1:
			c.unlabelled(c.key())
		case 2:
			c.section()
		case 3:
			c.async(c.key())
		}
	}
	for _, key := range c.held() {
		c.unlockAll(key)
	}
}

// handOver enters what the other connection has, and gives back what it took: owners
// belong to the session, and not to a connection.
func (c *client) handOver(m *client) {
	key := c.key()
	x := c.op(fsm.OpTryLock, key)
	if !c.ensureSame() || !c.ask(c.patience(), x) || x.reply.Code != fsm.CodeOK || x.reply.Int <= 0 {
		return
	}
	as := func(code fsm.OpCode) *call {
		return &call{owner: c.owner, op: fsm.Op{Code: code, Key: []byte(key), Owner: []byte(c.label)}}
	}
	enter, leave := as(fsm.OpTryLock), as(fsm.OpUnlock)
	enter.reenters, leave.op.Fence = true, uint64(x.reply.Int)
	if !m.ask(c.patience(), enter, as(fsm.OpLockCount)) {
		return
	}
	if enter.reply.Code == fsm.CodeOK && enter.reply.Int > 0 {
		c.holds[key]++
	}
	if !m.ask(c.patience(), leave) {
		return
	}
	c.w.stats.add("given back over another connection", 1)
	if c.holds[key]--; leave.reply.Code != fsm.CodeOK || leave.reply.Int == 0 {
		delete(c.holds, key)
		delete(c.fences, key)
	}
	c.unlockAll(key)
	y := &call{owner: c.alias("u"), untold: true, op: fsm.Op{Code: fsm.OpTryLock, Key: []byte(key)}}
	if c.ensureSame() && c.ask(c.patience(), y) && y.reply.Code == fsm.CodeOK && y.reply.Int > 0 {
		m.giveBack(y)
	}
}

// crowd enters a lock of the session's own over both connections at once, and leaves
// it over both: each must get the same fence, and each count must be answered once.
func (c *client) crowd(m *client) {
	key := fmt.Sprintf("crowd%d", m.id)
	each := func(n int, code fsm.OpCode, fence int64) []*call {
		var calls []*call
		for range n {
			calls = append(calls, &call{owner: m.owner, private: true, op: fsm.Op{Code: code, Key: []byte(key), Owner: []byte("crowd"), Fence: uint64(fence)}})
		}
		return calls
	}
	defer func() { // what is left of it, if anything is
		if c.ensureSame() {
			c.ask(c.patience(), each(1, fsm.OpForceUnlock, 0)...)
		}
	}()
	enter := each(2+c.rng.IntN(8), fsm.OpTryLock, 0)
	if !c.bothAsk(m, enter) {
		return
	}
	fence := enter[0].reply.Int
	for _, x := range enter {
		if x.reply.Int != fence || fence <= 0 {
			c.w.fault("session %s: over two connections %s was granted with fences %d and %d", c.session.name, key, fence, x.reply.Int)
		}
	}
	leave := each(len(enter), fsm.OpUnlock, fence)
	if !c.bothAsk(m, leave) {
		return
	}
	seen := map[int64]bool{}
	for _, x := range leave {
		if n := x.reply.Int; seen[n] || n < 0 || n >= int64(len(leave)) {
			c.w.fault("session %s: over two connections %s was left %d times, and count %d was answered", c.session.name, key, len(leave), n)
		}
		seen[x.reply.Int] = true
	}
	c.w.stats.add("crowds", 1)
}

// bothAsk asks half of it over each connection; false: the answers tell nothing, for
// one is missing, or the session may have ended.
func (c *client) bothAsk(m *client, calls []*call) bool {
	if !c.ensureSame() || !m.ensureSame() {
		return false
	}
	var theirs sync.WaitGroup
	half := len(calls) / 2
	theirs.Go(func() { m.ask(m.patience(), calls[half:]...) })
	c.ask(c.patience(), calls[:half]...)
	theirs.Wait()
	for _, x := range calls {
		if !x.done || x.reply.Code != fsm.CodeOK {
			return false
		}
	}
	return c.link != nil && m.link != nil && !c.ended()
}
