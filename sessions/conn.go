package sessions

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// Conn is one client connection.
type Conn struct {
	t     *Table
	out   Answerer
	addr  string
	since time.Time

	id          atomic.Uint64 // 0 until the first use of the cluster
	outstanding atomic.Int64  // ops that the client waits for
	spoke       atomic.Int64  // when the client last spoke, ns since the table was made
	touched     atomic.Bool   // it spoke since the last Contacts

	// gathered are the ops since the last Flush; the reader's alone, so that Do
	// takes no lock.
	gathered []*slot

	// marked and answered are the newest Deliver that did this with the
	// connection; under Table.answering.
	marked, answered uint64

	mu   sync.Mutex
	done bool // closed: no answer and no op any more

	ring ring
	// base is the number of the oldest open slot. The slot at position i has, or
	// will get when proposed, number base+i.
	base  uint64
	held  int // slots that are not with the cluster
	lost  int // slots that fly behind a hole
	order uint64
	seen  uint64    // all that was proposed up to this order has reached the machine
	ops   []*fsm.Op // to be proposed when the lock is released

	later bool // Table.later has it

	opened bool // OpOpen was put in front
	dirty  bool // the machine must be told the client name
	// describing is how many ops that tell it are open, renamed that the name has
	// changed since and another one is to follow them: else a client that does nothing
	// but change its name would fill the queue, for nobody waits for these ops.
	describing int
	renamed    bool
	name       string
	wish       wish
	// asked is the session of the last attachment that a client name put, empty
	// once SESSION ATTACH or a detach came after it.
	asked string

	holds       bool          // see holdsOrWaits
	fastHold    uint64        // the newest grant that only Fast has brought; 0: none
	attached    fsm.SessionID // the named session; 0: anonymous
	anonymous   fsm.SessionID // the anonymous session where it is known
	sessionName string        // of the last attachment that succeeded
	heartbeat   bool
}

// ID returns the connection's id, unique in the whole cluster and never used
// again. It is given at first use; the error says why there is none now
// (ErrNoIncarnation, ErrExhausted, ErrClosed): clients get CLUSTERDOWN.
func (c *Conn) ID() (fsm.ConnID, error) {
	if id := c.id.Load(); id != 0 {
		return fsm.ConnID(id), nil
	}
	return c.t.bind(c)
}

// Do gathers an op that the client waits for; its reply comes with tag. Conn
// and Seq are ours to set, and the byte slices are copied. Nothing is sent
// before Flush. On a closed connection nothing happens and nothing is answered.
func (c *Conn) Do(op fsm.Op, tag any) {
	c.outstanding.Add(1)
	c.gathered = append(c.gathered, newSlot(&op, tag, false))
}

// Silent gathers an op whose reply nobody waits for.
func (c *Conn) Silent(op fsm.Op) {
	c.gathered = append(c.gathered, newSlot(&op, nil, true))
}

// Outstanding returns how many ops of Do have not been answered.
func (c *Conn) Outstanding() int { return int(c.outstanding.Load()) }

// Touch notes that bytes came from the client.
func (c *Conn) Touch() {
	c.spoke.Store(int64(time.Since(c.t.start)))
	if !c.touched.Load() { // the common case keeps the cache line shared
		c.touched.Store(true)
	}
}

// Addr returns the address given to Open.
func (c *Conn) Addr() string { return c.addr }

// Answerer returns the way out given to Open.
func (c *Conn) Answerer() Answerer { return c.out }

// Name returns the client name, as CLIENT GETNAME answers it.
func (c *Conn) Name() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.name
}

// Known reports whether the cluster was told of the connection. Before that it
// has no session: RESET, for one, has nothing to do there.
func (c *Conn) Known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened
}

// Alive is nil when a local reply (PING) may be given. On a connection that
// holds or waits for something it is the cluster's Half error, to be answered as
// CLUSTERDOWN: an answered PING means that the holds are safe for half a
// session-timeout from when it was sent. ErrStale: the whole of it has passed, as
// after a freeze; nothing may be answered, the caller closes the connection.
func (c *Conn) Alive() error {
	if c.id.Load() == 0 || !c.holdsOrWaits() {
		return nil
	}
	if err := c.t.node().Fresh(); err != nil {
		return fmt.Errorf("%w: %w", ErrStale, err)
	}
	return c.t.node().Half()
}

// holdsOrWaits errs on the side of yes. An exact count of holds is not to be had
// on this node: other connections of a named session take and release them too,
// leases end, and locks are forced. So it is yes once a LOCK or TRYLOCK got
// something, until the connection has a session of its own anew (RESET, DETACH,
// SESSION CLOSE, the end of its named session); while it is attached to a named
// session, whose holds are its own, whoever took them; and while a LOCK or
// TRYLOCK that may wait is open.
func (c *Conn) holdsOrWaits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holds || c.attached != 0 {
		return true
	}
	for i := range c.ring.n {
		if c.ring.at(i).op.Waits() {
			return true
		}
	}
	return false
}

// Info describes the connection.
func (c *Conn) Info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := Info{
		ID:          fsm.ConnID(c.id.Load()),
		Addr:        c.addr,
		Name:        c.name,
		AgeMS:       time.Since(c.since).Milliseconds(),
		IdleMS:      (time.Since(c.t.start) - time.Duration(c.spoke.Load())).Milliseconds(),
		Session:     c.anonymous,
		Heartbeat:   c.heartbeat,
		Outstanding: c.Outstanding(),
		Known:       c.opened,
	}
	if c.attached != 0 {
		i.Session, i.SessionName = c.attached, c.sessionName
	}
	for k := range c.ring.n {
		if s := c.ring.at(k); !s.silent {
			i.Waiting = s.op.Waits()
			break
		}
	}
	return i
}

// Kill closes the connection from this side, answering nothing more.
func (c *Conn) Kill(why error) {
	c.mu.Lock()
	first := c.shut()
	c.mu.Unlock()
	if first {
		c.out.Close(why)
	}
}

// Closed says that the client is gone. If the cluster knows the connection, its
// end is queued. It may be called again, and from Answerer.Flush and Close.
func (c *Conn) Closed() {
	c.mu.Lock()
	c.shut()
	c.mu.Unlock()
}

// shut ends the connection's part in this package, with the lock held; false: it
// had ended before. Its end goes to the cluster at once and not only when the
// client's socket is closed, so that a client that sees its connection close and
// comes back finds its old locks free. Open slots are left to the collector:
// their ops may still be with the cluster.
func (c *Conn) shut() bool {
	if c.done {
		return false
	}
	c.done = true
	c.ring, c.held, c.lost, c.ops = ring{}, 0, 0, nil
	current := c.t.forget(c)
	if !c.opened {
		return true
	}
	c.opened = false
	c.t.live.Add(-1)
	if current {
		end := &fsm.Op{Conn: fsm.ConnID(c.id.Load()), Code: fsm.OpEnd}
		c.t.node().Propose([]*fsm.Op{end})
	}
	return true
}
