package fault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redlockd/redlockd/tests/check"
	"github.com/redlockd/redlockd/tests/harness"
)

type kind int

const (
	isAnonymous kind = iota // its session ends with its connection
	isNamed                 // its session never ends; it goes to another node when its own is gone
	isFickle                // as isNamed, but it stays away now and then for longer than its session's TTL
)

// client is one client of the load. Only its own goroutine uses it, but for answered.
type client struct {
	l        *load
	id       int
	home     *harness.Node
	kind     kind
	ttl      time.Duration
	random   *rand.Rand
	answered atomic.Int64

	conn  *harness.Conn
	node  *harness.Node // of the connection
	owner string
	since time.Duration // when the connection was begun
	heard time.Duration // when the last answered request was sent
	lives int           // connections so far
	ids   int
	took  int  // cycles
	away  bool // it stays away by its own will
}

func (c *client) run() {
	for !c.l.over.Load() {
		if err := c.connect(); err != nil {
			c.l.breath()
			continue
		}
		if err := c.cycle(); err != nil {
			c.broke(err)
		}
		// Not all that the machine can do: the servers are to be in trouble by the faults alone.
		harness.Poll(time.Duration(c.random.IntN(3))*5*time.Millisecond, c.l.over.Load)
	}
	c.bye()
}

// bye ends a connection, and the session of a named one with it.
func (c *client) bye() {
	if c.conn == nil && !harness.Poll(harness.Patience, func() bool { return c.connect() == nil || c.kind == isAnonymous }) {
		c.l.fault("client %d cannot come back to close its session", c.id)
		return
	}
	if c.conn == nil {
		return
	}
	from := c.l.h.Now()
	if c.kind == isAnonymous {
		c.l.ends(c.owner, from)
	} else if v, err := c.conn.Do("SESSION", "CLOSE"); err == nil && v.Kind == harness.Int {
		c.l.h.End(c.owner, from, c.l.h.Now())
	} else {
		c.l.fault("client %d: SESSION CLOSE at the end: %v, %v", c.id, v, err)
	}
	_ = c.conn.Close()
	c.conn = nil
}

// broke notes a connection that broke; that is judged when it is known what happened to its node.
func (c *client) broke(err error) {
	if c.conn == nil {
		return
	}
	_ = c.conn.Close() // broken already
	c.conn = nil
	if errors.Is(err, errAnew) {
		return
	}
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	if c.kind == isAnonymous {
		c.l.ended.Add(1)
	}
	c.l.losses = append(c.l.losses, loss{c, c.owner, c.kind == isAnonymous, c.node.ID, c.since, c.l.h.Now(), err})
}

// connect connects to the home node; a client with a session to any node if that is not there.
func (c *client) connect() error {
	if c.conn != nil {
		return nil
	}
	nodes := []*harness.Node{c.home}
	if c.kind != isAnonymous {
		nodes = append(nodes, c.l.nodes...)
	}
	err := errGone
	for _, n := range nodes {
		since := c.l.h.Now()
		var conn *harness.Conn
		if conn, err = harness.DialWithin(n.Addr(), time.Second); err != nil {
			continue
		}
		c.lives++
		if c.kind == isAnonymous {
			c.owner = fmt.Sprintf("a%d.%d", c.id, c.lives)
			c.conn, c.node, c.since, c.heard = conn, n, since, since
			return nil
		}
		anew, attached := c.attach(conn)
		if !attached {
			_ = conn.Close() // another node will do
			err = errGone
			continue
		}
		c.conn, c.node, c.since = conn, n, since
		if anew {
			return errAnew
		}
		return nil
	}
	return err
}

// session is the name of a client's session.
func (c *client) session() string {
	if c.l.round > 1 {
		return fmt.Sprintf("s%d.%d", c.id, c.l.round)
	}
	return fmt.Sprintf("s%d", c.id)
}

// attach takes up the client's session, and says whether it had ended.
func (c *client) attach(conn *harness.Conn) (anew, attached bool) {
	name := c.session()
	sent := c.l.h.Now()
	if conn.Send("SESSION", "ATTACH", name, "TTL", strconv.FormatInt(c.ttl.Milliseconds(), 10)) != nil {
		return false, false
	}
	v, err := conn.ReceiveWithin(2 * time.Second)
	if err != nil || len(v.Items) != 2 {
		return false, false
	}
	first := c.owner == ""
	c.owner = name
	if !first && v.Items[1].Text != "resumed" {
		if c.kind == isNamed {
			c.l.fault("client %d: its session was %s when it came back", c.id, v.Items[1].Text)
		}
		c.l.h.End(c.owner, c.heard+c.ttl, c.l.h.Now())
		if anew = true; !c.away {
			c.l.ended.Add(1)
		}
	}
	c.heard = sent
	return anew, true
}

// step is one request: its words, and what is noted of it.
type step struct {
	c     *client
	kind  check.Kind
	key   string
	args  []string
	lease time.Duration
	waits time.Duration // of an acquire, see check.Op.Waits
	fence int64         // that it names; 0: none
	note  string        // by which it is found in line
	op    *check.Op
	sends int
	value int64
	code  string // of the answer, if it was an error
	ended bool   // it has been settled
}

var words = map[check.Kind]string{
	check.Acquire: "LOCK", check.Release: "UNLOCK", check.Renew: "RENEW", check.Count: "LOCKCOUNT",
	check.Owns: "ISOWNER", check.Fence: "FENCE", check.Force: "FORCEUNLOCK",
}

// step prepares a request; more are words behind the key.
func (c *client) step(kind check.Kind, key string, more ...string) *step {
	s := &step{c: c, kind: kind, key: key, args: append([]string{words[kind], key}, more...)}
	if c.kind == isAnonymous {
		return s
	}
	if kind != check.Force && kind != check.Fence {
		s.args = append(s.args, "OWNER", "o")
	}
	if kind == check.Acquire || kind == check.Release {
		c.ids++
		s.args = append(s.args, "ID", fmt.Sprintf("r%d", c.ids))
	}
	return s
}

// acquire prepares a LOCK or TRYLOCK.
func (c *client) acquire(key string, timeout, lease time.Duration) *step {
	s := c.step(check.Acquire, key)
	s.waits = check.Never
	if timeout >= 0 {
		s.waits = max(0, timeout-time.Millisecond) // see begin
		s.args[0] = "TRYLOCK"
		if timeout > 0 {
			s.args = append(s.args, "TIMEOUT", strconv.FormatInt(timeout.Milliseconds(), 10))
		}
	}
	if lease > 0 {
		s.lease = lease
		s.args = append(s.args, "LEASE", strconv.FormatInt(lease.Milliseconds(), 10))
	}
	return s
}

// naming has a request name the hold that it means.
func (s *step) naming(fence int64) *step {
	s.fence = fence
	s.args = append(s.args, "FENCE", strconv.FormatInt(fence, 10))
	return s
}

// noted gives an acquire a note by which it is found in line.
func (s *step) noted() *step {
	s.note = fmt.Sprintf("%d.%d", s.c.id, s.c.took)
	s.args = append(s.args, "NOTE", s.note)
	return s
}

func (s *step) begin() {
	if s.op != nil {
		return
	}
	// Cluster time is in whole milliseconds, of which the first and the last are not whole.
	s.op = s.c.l.h.Begin(s.c.owner, s.kind, s.key).Lease(max(0, s.lease-time.Millisecond)).Waits(s.waits).WithFence(s.fence)
	if s.note != "" {
		s.c.l.lines.Store(s.note, s.op)
	}
}

// over says that no answer will come, unless one came.
func (s *step) over() {
	if s.note != "" {
		s.c.l.lines.Delete(s.note)
	}
	if s.op != nil && !s.ended {
		s.ended = true
		s.op.Unknown()
	}
}

// ask carries out one request. A client with a session repeats it, on any node, until it has the answer.
func (c *client) ask(s *step) error {
	defer s.over()
	for {
		err := c.send(s)
		if err == nil || c.kind == isAnonymous {
			return err
		}
		if errors.Is(err, errAgain) {
			c.l.breath()
			continue
		}
		if isTimeout(err) {
			_ = c.conn.Close() // its node may be frozen
			c.conn = nil
		} else {
			c.broke(err)
		}
		if s.kind == check.Force { // it has no ID
			return err
		}
		if !harness.Poll(2*harness.Patience, func() bool { err = c.connect(); return err == nil || errors.Is(err, errAnew) }) {
			c.l.fault("client %d: no node takes it in any more", c.id)
			return errGone
		}
		if err != nil {
			return err // its requests are another session's
		}
	}
}

// send sends requests in one piece and takes their answers.
func (c *client) send(steps ...*step) error {
	var out []byte
	sent := c.l.h.Now()
	for _, s := range steps {
		s.begin()
		if s.sends++; s.sends > 1 && c.kind == isFickle {
			s.op.Requeued() // it may have been away for so long that its place was gone
		}
		out = harness.AppendCommand(out, s.args...)
	}
	if err := c.conn.SendRaw(out); err != nil {
		return err
	}
	for _, s := range steps {
		v, err := c.conn.ReceiveWithin(c.patience(s))
		if err != nil {
			return err
		}
		c.heard = sent
		if err := c.settle(s, v); err != nil {
			return err
		}
	}
	return nil
}

// patience is how long a client waits for an answer. One with a session can ask again elsewhere.
func (c *client) patience(s *step) time.Duration {
	switch {
	case c.kind == isAnonymous:
		return 3 * harness.Patience
	case c.kind == isFickle && s.kind != check.Acquire:
		return time.Second // or its session may end meanwhile
	}
	return 2 * time.Second
}

// settle notes an answer.
func (c *client) settle(s *step, v harness.Value) error {
	c.answered.Add(1)
	c.l.answered.Add(1)
	s.value, s.code = v.Int, v.Code()
	if s.code != "CLUSTERDOWN" && s.code != "UNCERTAIN" {
		c.l.hears()
	}
	switch {
	case v.Kind == harness.Int && s.kind == check.Acquire && v.Int == 0:
		s.op.Refused()
	case v.Kind == harness.Int:
		s.op.Done(v.Int)
	case s.code == "CLUSTERDOWN", s.code == "LIMIT":
		// An earlier try may have been carried out; and who cannot give back a lock must not go on without it.
		if c.kind != isAnonymous && s.kind != check.Force && (s.sends > 1 || s.kind == check.Release) {
			return errAgain
		}
		s.op.Nothing()
		c.l.breath()
	case s.code == "CANCELLED", s.code == "DEADLOCK":
		s.op.Nothing()
	case s.code == "NOTOWNER" && s.kind == check.Renew && s.sends > 1:
		s.op.Unknown() // it has no ID: an earlier try may have been told LOCKLOST
	case s.code == "NOTOWNER":
		s.op.NotHeld()
	case s.code == "LOCKLOST":
		s.op.Lost()
	case s.code == "UNCERTAIN", s.code == "NOSESSION":
		return fmt.Errorf("%w: %v", errGone, v)
	default:
		c.l.fault("client %d on %s: %s answered %v", c.id, c.node.ID, strings.Join(s.args, " "), v)
		return fmt.Errorf("%w: %v", errGone, v)
	}
	s.ended = true
	return nil
}

func isTimeout(err error) bool {
	timeout, ok := err.(interface{ Timeout() bool })
	return ok && timeout.Timeout()
}
