package sessions

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// lastNumber is the last connection number given to a client. The one above it
// is the cluster package's, for what the node itself asks.
const lastNumber = fsm.MaxConnNumber - 1

// Table holds this node's connections. It is the cluster's host: all replies
// and ends come in through it. It is safe for concurrent use, as doc.go says.
type Table struct {
	log       *slog.Logger
	flushAll  func([]Answerer)
	exhausted func(fsm.Incarnation)
	start     time.Time
	cluster   atomic.Pointer[Cluster]
	live      atomic.Int64

	mu     sync.RWMutex
	inc    fsm.Incarnation // 0: none
	why    error           // why there is none
	number uint32          // the last connection number given in inc
	told   bool            // exhausted was called for inc
	conns  map[fsm.ConnID]*Conn
	all    map[*Conn]struct{}
	// heart holds the connections whose session wants to be spoken for.
	heart map[*Conn]fsm.SessionID
	later later

	// answering is held from the first Answer of a Deliver, Down or Uncertain to
	// its last Flush.
	answering sync.Mutex
	delivery  delivery // under answering
}

// NewTable returns a table without incarnation: until Begin, what clients ask
// of the cluster is answered CLUSTERDOWN.
func NewTable(o Options) *Table {
	t := &Table{
		log:       o.Logger,
		flushAll:  o.FlushAll,
		exhausted: o.OnExhausted,
		start:     time.Now(),
		why:       ErrNoIncarnation,
		conns:     make(map[fsm.ConnID]*Conn),
		all:       make(map[*Conn]struct{}),
		heart:     make(map[*Conn]fsm.SessionID),
	}
	if t.log == nil {
		t.log = slog.Default()
	}
	if t.flushAll == nil {
		t.flushAll = func(as []Answerer) {
			for _, a := range as {
				a.Flush()
			}
		}
	}
	if t.exhausted == nil {
		t.exhausted = func(fsm.Incarnation) {}
	}
	return t
}

// SetCluster says where ops go. Until then the table answers as without an
// incarnation.
func (t *Table) SetCluster(c Cluster) { t.cluster.Store(&c) }

// Open takes a client connection that a will answer. name is the client name it
// starts with (usually empty), addr its address as people read it. The error is
// ErrSessionName for a name that asks for an impossible session.
func (t *Table) Open(name, addr string, a Answerer) (*Conn, error) {
	session, err := sessionOf(name)
	if err != nil {
		return nil, err
	}
	c := &Conn{t: t, out: a, addr: addr, since: time.Now(), base: 1, name: name}
	if session != "" {
		c.wish = wish{session: session, state: wishWanted, gen: 1}
	}
	c.Touch()
	t.mu.Lock()
	t.all[c] = struct{}{}
	t.mu.Unlock()
	return c, nil
}

// Begin serves under a new incarnation: connections get their numbers in it
// from now on.
func (t *Table) Begin(inc fsm.Incarnation) {
	t.mu.RLock()
	old := t.inc
	t.mu.RUnlock()
	if old == inc {
		return
	}
	if old != 0 {
		// The cluster ends one before it begins the next. Should it not, no
		// connection may live on under a number of the old one.
		t.log.Error("a new incarnation begins before the old one was ended; closing its connections", "old", old, "new", inc)
		t.End(old, fmt.Errorf("incarnation %d was replaced by %d", old, inc))
	}
	t.mu.Lock()
	t.inc, t.why, t.number, t.told = inc, nil, 0, false
	t.mu.Unlock()
}

// End closes all connections without another answer: nobody vouches for their
// sessions any more. An incarnation other than the present one changes nothing.
func (t *Table) End(inc fsm.Incarnation, reason error) {
	t.mu.Lock()
	if t.inc != inc || inc == 0 {
		t.mu.Unlock()
		return
	}
	why := ErrNoIncarnation
	if reason != nil {
		why = fmt.Errorf("%w (%w)", ErrNoIncarnation, reason)
	}
	t.inc, t.why = 0, why
	t.mu.Unlock()
	t.closeAll(why)
}

// closeAll closes every connection, answering nothing.
func (t *Table) closeAll(why error) {
	for c := range t.every() {
		c.Kill(why)
	}
}

// every returns the connections that are open now.
func (t *Table) every() map[*Conn]struct{} {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make(map[*Conn]struct{}, len(t.all))
	for c := range t.all {
		all[c] = struct{}{}
	}
	return all
}

// bind gives c a number in the present incarnation.
func (t *Table) bind(c *Conn) (fsm.ConnID, error) {
	t.mu.Lock()
	if id := c.id.Load(); id != 0 { // ID and Flush may race for it
		t.mu.Unlock()
		return fsm.ConnID(id), nil
	}
	if _, open := t.all[c]; !open {
		t.mu.Unlock()
		return 0, ErrClosed
	}
	inc, why := t.inc, t.why
	switch {
	case t.cluster.Load() == nil:
		t.mu.Unlock()
		return 0, ErrNoIncarnation // still being wired up
	case inc == 0:
		t.mu.Unlock()
		return 0, why
	}
	if t.number == lastNumber {
		tell := !t.told
		t.told = true
		t.mu.Unlock()
		if tell {
			t.log.Warn("no connection numbers left: this node must register anew", "incarnation", inc)
			t.exhausted(inc)
		}
		return 0, ErrExhausted
	}
	t.number++
	id := inc.Conn(t.number)
	t.conns[id] = c
	c.id.Store(uint64(id))
	t.mu.Unlock()
	return id, nil
}

// forget drops c and reports whether its incarnation is the present one.
func (t *Table) forget(c *Conn) (current bool) {
	id := fsm.ConnID(c.id.Load())
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, c)
	delete(t.conns, id)
	delete(t.heart, c)
	return id != 0 && id.Incarnation() == t.inc
}

// setHeart notes that c's session wants to be spoken for; 0: no longer.
func (t *Table) setHeart(c *Conn, s fsm.SessionID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, open := t.all[c]; open && s != 0 {
		t.heart[c] = s
	} else {
		delete(t.heart, c)
	}
}

// node is the cluster; only a connection with a number may ask for it.
func (t *Table) node() Cluster { return *t.cluster.Load() }

// Contacts returns the HEARTBEAT sessions that a connection of this node spoke
// for since the last call: bytes came from its client, or an op of it is under
// way. The cluster must carry them in a keepalive that counts.
func (t *Table) Contacts() []fsm.SessionID {
	t.mu.RLock()
	var spoken []fsm.SessionID
	for c, s := range t.heart {
		if c.touched.Swap(false) || c.Outstanding() > 0 {
			spoken = append(spoken, s)
		}
	}
	t.mu.RUnlock()
	slices.Sort(spoken)
	return slices.Compact(spoken)
}

// Live returns how many open connections the cluster was told of. While it is
// above 0 the node must send keepalives.
func (t *Table) Live() int { return int(t.live.Load()) }

// Count returns how many connections are open.
func (t *Table) Count() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.all)
}

// Find returns this node's open connection with that id, or nil.
func (t *Table) Find(id fsm.ConnID) *Conn {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.conns[id]
}

// Each yields the open connections, lowest id first, until yield returns false.
// Those without a number come first.
func (t *Table) Each(yield func(*Conn) bool) {
	type numbered struct {
		id uint64
		c  *Conn
	}
	all := make([]numbered, 0, t.Count())
	for c := range t.every() {
		all = append(all, numbered{c.id.Load(), c})
	}
	slices.SortFunc(all, func(a, b numbered) int {
		return cmp.Or(cmp.Compare(a.id, b.id), a.c.since.Compare(b.c.since))
	})
	for _, n := range all {
		if !yield(n.c) {
			return
		}
	}
}
