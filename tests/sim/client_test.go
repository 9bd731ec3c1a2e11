package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/tests/check"
)

// client is one user of locks with a program of its own.
type client struct {
	w   *world
	id  int
	rng *rand.Rand

	link   *link // nil: none
	former *link // another one to the same session, in move
	// owner is who holds what it takes, for the history. An anonymous one is a new
	// one with each connection; a named session's comes back.
	owner string
	lives int // connections so far
	// session is nil for a client that stays anonymous.
	session *session
	label   string
	holds   map[string]int // as far as it was told
	fences  map[string]int64
	// doubts: in its named session it may hold what it was not told of.
	doubts bool
	ids    int
	// aliases are other owners of the same anonymous session; see alias.
	aliases []string
	// lead is whose session it uses, over a connection of its own; nil: it is nobody's mate.
	lead  *client
	teams int // mates that it has had
}

// session is a named session of one client.
type session struct {
	name      string
	owner     string // as the history has it
	ttl       time.Duration
	heartbeat bool
	byName    bool // attached by the client's name, and not by SESSION ATTACH
	id        fsm.SessionID

	mu sync.Mutex
	// loose is when it may end at the earliest; zero: a connection is attached and well.
	loose time.Time
	// since is when it was attached last.
	since time.Time
	// killing counts the SESSION KILLs under way, kills those that were done; killed:
	// one of them since the newest attachment; doomed: of one the outcome is not known.
	killing, kills int
	killed, doomed bool
	// aliases are other owners of the session, besides owner.
	aliases []string
	mates   mates
}

// noticesLast is how long the session's owners are told what they lost with it.
func (s *session) noticesLast() time.Duration {
	return ms(10*s.ttl.Milliseconds()) - time.Millisecond
}

// ends notes that the session ends, or may end, for all its owners; mu is held.
func (s *session) ends(h *check.History, from, until time.Duration) {
	h.End(s.owner, from, until)
	for _, a := range s.aliases {
		h.End(a, from, until)
	}
}

func newClient(w *world, id int) *client {
	c := &client{w: w, id: id, rng: rand.New(rand.NewPCG(w.seed, uint64(100+id))), holds: map[string]int{}, fences: map[string]int64{}}
	if c.rng.IntN(2) == 0 {
		return c
	}
	s := &session{name: fmt.Sprint("s", id), ttl: time.Duration(1000+c.rng.IntN(4000)) * time.Millisecond, byName: c.rng.IntN(3) == 0}
	if c.rng.IntN(3) == 0 {
		s.heartbeat, s.byName = true, false
		s.ttl += 2 * w.conf.sessionTimeout // which may be raised to that
	}
	if s.byName {
		s.ttl = w.conf.sessionTimeout
	}
	c.session, c.label = s, fmt.Sprint("L", id)
	c.owner = s.name + "/" + c.label
	s.owner = c.owner
	w.hist.Forgets(c.owner, s.noticesLast())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions[s.name] = s
	return c
}

// at is a moment as the history counts.
func (w *world) at(t time.Time) time.Duration { return w.hist.Now() - time.Since(t) }

// finishing says whether no new work is to begin.
func (c *client) finishing() bool { return c.w.ending.Load() != overNot }

// sleep waits, but not beyond the end.
func (c *client) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.w.over:
	}
}

// around draws a duration with that mean.
func (c *client) around(d time.Duration) time.Duration {
	return min(time.Duration(c.rng.ExpFloat64()*float64(d)), 20*d)
}

// run is the client's life.
func (c *client) run() {
	for !c.finishing() {
		c.sleep(c.around(c.w.conf.thinking))
		if c.finishing() {
			break
		}
		if !c.ensure() {
			c.sleep(c.around(500 * time.Millisecond))
			continue
		}
		c.program()
	}
	c.leave()
}

// leave gives back what it holds, or just goes.
func (c *client) leave() {
	if c.link == nil || c.link.over() {
		c.lost()
		return
	}
	if c.rng.IntN(2) == 0 {
		for _, key := range c.held() {
			if c.link != nil {
				c.unlockAll(key)
			}
		}
	}
	c.hangUp(errLeaves)
}

var (
	errLeaves    = errors.New("the client leaves")
	errPatience  = errors.New("the client's patience is at its end")
	errStruck    = errors.New("the client dies")
	errHeartbeat = errors.New("the client was silent for too long")
)

func sorted[V any](m map[string]V) []string {
	all := make([]string, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// hangUp closes the connection; it returns false: there is none any more.
func (c *client) hangUp(why error) bool {
	if c.link != nil {
		late := time.Duration(0)
		if c.session == nil && !c.finishing() && c.chance(20) {
			late = c.around(2 * time.Second) // the node does not see it at once
		}
		c.link.drop(why, late)
		c.lost()
	}
	return false
}

// lost takes in that the connection is gone.
func (c *client) lost() {
	l := c.link
	if l == nil {
		return
	}
	c.link = nil
	from := l.earliest()
	if c.lead != nil {
		c.session.leaves(l)
		return
	}
	if c.session == nil {
		for _, owner := range append(c.aliases, c.owner) {
			c.w.hist.MayEnd(owner, c.w.at(from))
			c.w.leaves(owner)
		}
		c.holds, c.fences, c.aliases = map[string]int{}, map[string]int64{}, nil
		return
	}
	c.mayEnd(l, from)
}

// mayEnd keeps when the session may end at the earliest, until it is known.
func (c *client) mayEnd(l *link, from time.Time) {
	s := c.session
	ttl := ms(s.ttl.Milliseconds())
	end := from.Add(ttl)
	if s.heartbeat {
		l.mu.Lock()
		if !l.touched.IsZero() {
			end = earlier(end, l.touched.Add(ttl))
		}
		l.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loose = earlier(s.loose, end)
}

// ensure has a connection, and in it the session; false: not now.
func (c *client) ensure() bool {
	if c.link != nil && c.link.over() {
		c.lost()
	}
	if c.link != nil {
		return c.spoken()
	}
	if c.lead != nil {
		return false
	}
	all := c.w.running()
	var up []*process
	for _, p := range all {
		if p.serves() {
			up = append(up, p)
		}
	}
	if len(up) == 0 {
		return false
	}
	l, err := c.w.connect(up[c.rng.IntN(len(up))], c.session.clientName())
	if err != nil {
		return false
	}
	c.link = l
	c.lives++
	if c.session == nil {
		c.owner = fmt.Sprintf("a%d.%d", c.id, c.lives)
		return true
	}
	return c.attach()
}

// clientName is what a connection of the session (nil: of none) is called.
func (s *session) clientName() string {
	if s == nil || !s.byName {
		return ""
	}
	return "session:" + s.name
}

// held returns the keys that it holds, as far as it was told.
func (c *client) held() []string { return sorted(c.holds) }

// blocks says whether others may wait for what the client holds while it waits for
// something else: then they may wait for each other, and nobody can be blamed.
func (c *client) blocks(calls []*call) bool {
	for key := range c.holds {
		if key != string(calls[0].op.Key) || calls[0].owner != "" {
			return true
		}
	}
	return c.doubts
}

// spoken makes sure that a HEARTBEAT session was not silent for too long.
func (c *client) spoken() bool {
	s := c.session
	if s == nil || !s.heartbeat || c.link == nil {
		return true
	}
	quiet := c.link.spoke()
	if quiet.IsZero() || time.Since(quiet) < s.ttl*97/100 {
		return true
	}
	c.hangUp(errHeartbeat)
	return false
}

// listen takes in that what was just asked took so long that a HEARTBEAT session
// may have ended meanwhile: its node may not have been heard.
func (c *client) listen(spoke time.Time) {
	s := c.session
	if s == nil || !s.heartbeat || spoke.IsZero() {
		return
	}
	if end := spoke.Add(ms(s.ttl.Milliseconds())); time.Now().After(end) {
		s.mu.Lock()
		s.ends(c.w.hist, c.w.at(end), check.Never)
		s.doomed = true
		s.mu.Unlock()
	}
}

// attachment is what attaches a connection, or tells which session its name did.
func (s *session) attachment() fsm.Op {
	op := fsm.Op{Code: fsm.OpSessionAttach, Name: []byte(s.name), Lease: s.ttl.Milliseconds()}
	if s.heartbeat {
		op.Flags |= fsm.FlagHeartbeat
	}
	if s.byName {
		op = fsm.Op{Code: fsm.OpSessionID}
	}
	return op
}

// attach gets the session and finds out whether it is the former one.
func (c *client) attach() bool {
	s := c.session
	a := &call{op: s.attachment()}
	s.mu.Lock()
	killed, kills := s.killed || s.killing > 0 || s.doomed, s.kills
	s.mu.Unlock()
	if !c.ask(10*time.Second, a) || a.reply.Code != fsm.CodeOK {
		if c.link != nil {
			c.hangUp(errNoNode)
		}
		return false
	}
	s.mu.Lock()
	id, created := fsm.SessionID(a.reply.Int), !s.doomed
	if x, ok := a.reply.Data.(*fsm.Attached); ok {
		id, created = x.Session, x.Created
	}
	killed = killed || s.killed || s.killing > 0 || s.doomed // meanwhile
	c.w.log("client").Debug("attached", "client", c.id, "session", s.name, "ttl", s.ttl, "heartbeat", s.heartbeat, "by name", s.byName, "id", id, "created", created, "was", s.id, "good until", s.loose.Sub(c.w.begun), "killed", killed)
	s.mu.Unlock()
	if c.former != nil && !c.former.earliest().IsZero() {
		c.mayEnd(c.former, c.former.earliest())
	}
	s.mu.Lock()
	was, from, since := s.id, s.loose, s.since
	s.id, s.loose, s.since = id, time.Time{}, time.Now()
	s.killed = s.killing > 0 || s.kills != kills // which may have been behind the attachment
	s.mu.Unlock()
	if was == 0 || id == was {
		return true
	}
	c.holds, c.fences, c.doubts = map[string]int{}, map[string]int64{}, false
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !created: // a LOCK has opened it anew, sometime
		s.ends(c.w.hist, c.w.at(since), check.Never)
	case killed:
		// That end is noted. A LOCK may have opened the session anew before the
		// connection was lost, and this may be that life of it, or another one.
		if !from.IsZero() {
			s.ends(c.w.hist, c.w.at(from), check.Never)
		}
	case !from.IsZero() && !time.Now().Before(from) && !s.kept(was):
		s.ends(c.w.hist, c.w.at(from), c.w.hist.Now())
		s.aliases = nil // none of them is used again
	default:
		c.w.fault("session %s ended early: it was good until %v, and %v", s.name, from.Sub(c.w.begun), &s.mates)
	}
	return true
}
