package fault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/check"
	"github.com/redlockd/redlockd/tests/harness"
)

// load is clients of all kinds on all nodes, and what they were told.
type load struct {
	t       *testing.T
	c       *harness.Cluster
	nodes   []*harness.Node // those that stay
	h       *check.History
	timeout time.Duration // session-timeout
	random  *rand.Rand
	round   int // names the sessions: what one of an earlier round lost is not this one's

	over     atomic.Bool
	cycles   atomic.Int64 // names the shared locks
	answered atomic.Int64
	ended    atomic.Int64 // sessions that the faults ended
	last     atomic.Int64 // when the last answer came that took a leader and a majority
	running  sync.WaitGroup
	clients  []*client
	lines    sync.Map // the requests that wait, by the note that they gave

	mu     sync.Mutex
	faults []string
	hurt   []*injury
	// hiccups are times in which the machine was too busy to keep any promise.
	hiccups []time.Duration
	gaps    int      // times without a leader that sessions need not outlive
	losses  []loss   // not judged yet
	dead    []string // owners whose end has begun since the last recovery
	dying   []string // and before it
	shared  map[string]bool
	terms   map[string]bool // that had a leader
}

// loss is a connection that broke. Whether it was allowed to is known later.
type loss struct {
	c           *client
	owner       string
	anonymous   bool
	node        string
	since, when time.Duration
	err         error
}

// injury is a time in which a node's clients may be cut off and its sessions end.
type injury struct {
	node        string // "": all
	from, until time.Duration
	grace       time.Duration // holds of sessions that lived before it are safe for so long
}

const (
	stillHurt = time.Duration(1<<63 - 1)
	// sharedLocks are contended at one time; they change their names each cyclesOfName, for judging a lock takes longer
	// the more was asked of it.
	sharedLocks  = 3
	cyclesOfName = 120
	maxLoadFault = 20
	nodeLook     = 10 // each so many looks at a line, the node is looked at
)

func newLoad(t *testing.T, c *harness.Cluster, timeout time.Duration, random *rand.Rand) *load {
	t.Helper()
	return &load{t: t, c: c, nodes: c.Nodes(), h: check.New(), timeout: timeout, random: random, shared: map[string]bool{}, terms: map[string]bool{}}
}

// start lets clients work: on each node so many that are anonymous, that have a session which must never end, and that
// have one which ends whenever they stay away for too long.
func (l *load) start(anonymous, named, fickle int) {
	for i, n := range l.nodes {
		kinds := []kind{}
		for _, k := range []struct {
			kind kind
			n    int
		}{{isAnonymous, anonymous}, {isNamed, named}, {isFickle, fickle}} {
			for range k.n {
				kinds = append(kinds, k.kind)
			}
		}
		for _, k := range kinds {
			c := &client{
				l: l, id: len(l.clients), home: n, kind: k, ttl: 120 * time.Second,
				random: rand.New(rand.NewPCG(l.random.Uint64(), uint64(i))),
			}
			if k == isFickle {
				c.ttl = 1500 * time.Millisecond
			}
			if k != isAnonymous { // a notice of what ended with a session lasts so long
				l.h.Forgets(c.session(), 10*c.ttl)
			}
			l.clients = append(l.clients, c)
			l.running.Go(c.run)
		}
	}
	for _, n := range l.nodes {
		l.running.Go(func() { l.watchLines(n) })
	}
	l.running.Go(l.watchMachine)
	l.progress()
}

func (l *load) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.faults) < maxLoadFault {
		l.faults = append(l.faults, fmt.Sprintf(format, args...))
	}
}

// failed reports whether there is something to complain about already.
func (l *load) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.faults) > 0
}

// hurts says, before it is done, that a node's clients are cut off from now on.
func (l *load) hurts(n *harness.Node, grace time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hurt = append(l.hurt, &injury{n.ID, l.h.Now(), stillHurt, grace})
}

// healed says that the node serves again: what begins from now on must be kept.
func (l *load) healed(n *harness.Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range l.hurt {
		if i.node == n.ID && i.until == stillHurt {
			i.until = l.h.Now()
		}
	}
}

// hears notes an answer that took a leader and a majority. When nobody had one for so long that sessions need not
// outlive it, all of them may have ended.
func (l *load) hears() {
	now := l.h.Now()
	from := time.Duration(l.last.Swap(int64(now)))
	if now-from <= sessionsOutlive {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hurt = append(l.hurt, &injury{"", from, now, 0})
	l.gaps++
}

// excuse finds since when the holds of a connection may be gone. The caller holds mu.
func (l *load) excuse(node string, began, lost time.Duration) (time.Duration, bool) {
	for _, i := range l.hurt {
		if (i.node == node || i.node == "") && i.until >= began && i.from <= lost {
			return max(began, i.from+i.grace), true
		}
	}
	for _, at := range l.hiccups {
		if at <= lost && at+2*l.timeout >= lost {
			return max(began, at-l.timeout), true
		}
	}
	return 0, false
}

// watchMachine notes when this process was given no processor for so long that a server which fares the same loses its
// followers or its leader: what was promised for session-timeout may then end.
func (l *load) watchMachine() {
	const every, hiccup = 20 * time.Millisecond, 250 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for last := time.Now(); !l.over.Load(); <-tick.C {
		now := time.Now()
		// By the wall clock as well: the monotonic one does not run while a machine is suspended.
		if max(now.Sub(last), now.Round(0).Sub(last.Round(0))) > hiccup {
			l.mu.Lock()
			l.hiccups = append(l.hiccups, l.h.Now()-now.Sub(last))
			l.mu.Unlock()
		}
		last = now
	}
}

// ends says that the session of an owner ends, and not before a moment.
func (l *load) ends(owner string, from time.Duration) {
	l.h.MayEnd(owner, from)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = append(l.dead, owner)
}

// recovered says that all nodes serve and all clients go on. What had begun to end before the last time must have ended.
func (l *load) recovered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.judgeLosses()
	now := l.h.Now()
	for _, owner := range l.dying {
		l.h.MustEnd(owner, now)
	}
	l.dying, l.dead = l.dead, nil
}

// judgeLosses says whether the connections that broke were allowed to, and since when their holds may be gone. The
// caller holds mu.
func (l *load) judgeLosses() {
	for _, b := range l.losses {
		from, ok := l.excuse(b.node, b.since, b.when)
		if !ok && len(l.faults) < maxLoadFault {
			l.faults = append(l.faults, fmt.Sprintf("client %d lost its connection to %s, where nothing happened, at %v: %v", b.c.id, b.node, b.when, b.err))
		}
		if b.anonymous {
			l.h.MayEnd(b.owner, from)
			l.dead = append(l.dead, b.owner)
		}
	}
	l.losses = nil
}

// progress waits until each client of some nodes, or of all, has had some more answers.
func (l *load) progress(nodes ...*harness.Node) {
	l.t.Helper()
	const some = 10
	if len(nodes) == 0 {
		nodes = l.nodes
	}
	from := map[*client]int64{}
	for _, c := range l.clients {
		for _, n := range nodes {
			if c.home == n {
				from[c] = c.answered.Load()
			}
		}
	}
	behind := -1
	if !harness.Poll(2*harness.Patience, func() bool {
		for c, n := range from {
			if c.answered.Load() < n+some {
				behind = c.id
				return l.failed() // told at the end
			}
		}
		return true
	}) {
		l.fault("client %d had not %d answers in %v", behind, some, 2*harness.Patience)
	}
}

// sharedName is a contended lock.
func (l *load) sharedName(random *rand.Rand) string {
	key := fmt.Sprintf("shared:%d:%d", l.cycles.Add(1)/cyclesOfName, random.IntN(sharedLocks))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shared[key] = true
	return key
}

// watchLines asks a node now and then who stands in line for a contended lock: who asks later must come behind. That
// there is an answer tells that there is a leader, also when all clients wait for each other.
func (l *load) watchLines(node *harness.Node) {
	var conn *harness.Conn
	for n := 0; !l.over.Load(); n++ {
		if conn == nil {
			var err error
			if conn, err = harness.DialWithin(node.Addr(), time.Second); err != nil {
				conn = nil
				l.breath()
				continue
			}
		}
		key := fmt.Sprintf("shared:%d:%d", l.cycles.Load()/cyclesOfName, n%sharedLocks)
		asked := l.h.Moment()
		v, err := harness.Value{}, conn.Send("LOCKWAITERS", key)
		if err == nil {
			v, err = conn.ReceiveWithin(time.Second)
		}
		if err == nil && n%nodeLook == 0 {
			err = l.look(node, conn)
		}
		if err != nil {
			_ = conn.Close() // it is cut off, or frozen
			conn = nil
			continue
		}
		if v.Kind == harness.Array {
			l.hears()
		}
		var line []*check.Op
		for _, w := range v.Items {
			note, _ := w.Field("note")
			if o, ok := l.lines.Load(note.Text); ok {
				line = append(line, o.(*check.Op))
			}
		}
		l.h.Queue(asked, line...)
		l.breath()
	}
	if conn != nil {
		_ = conn.Close() // it holds nothing
	}
}

// breath is the pause before something is tried again.
func (l *load) breath() { harness.Poll(20*time.Millisecond, l.over.Load) }

// finish ends the load, checks that no lock is stuck, and judges all of it.
func (l *load) finish(dir string) check.Report {
	l.t.Helper()
	l.progress()
	l.recovered()
	l.progress()
	l.recovered()
	l.over.Store(true)
	l.running.Wait()
	l.recovered()
	l.noneStuck()
	l.hashes()
	report := check.Check(l.h, check.Options{Dir: dir})
	l.mu.Lock()
	defer l.mu.Unlock()
	report.Faults = append(report.Faults, l.faults...)
	return report
}

// noneStuck takes every contended lock once, now that all clients have gone.
func (l *load) noneStuck() {
	conn, err := harness.Dial(l.nodes[0].Addr())
	if err != nil {
		l.fault("at the end: %v", err)
		return
	}
	defer conn.Close()
	for key := range l.shared {
		got := harness.Poll(harness.Patience, func() bool {
			v, err := conn.Do("TRYLOCK", key)
			if err == nil && v.Kind == harness.Int && v.Int > 0 {
				_, err = conn.Do("UNLOCK", key)
				return err == nil
			}
			return err != nil
		})
		if !got {
			v, _ := conn.Do("LOCKINFO", key)
			l.fault("%s is stuck: nobody is there any more, and it is %v", key, v)
		}
	}
}

// hashes notes what the nodes say of their states.
func (l *load) hashes() {
	l.c.AwaitApplied()
	for _, n := range l.nodes {
		info, err := n.Info("raft")
		if err != nil {
			l.fault("%s at the end: %v", n.ID, err)
			continue
		}
		var index uint64
		if _, err := fmt.Sscan(info["state_hash_index"], &index); err != nil {
			l.fault("%s has no state hash: index %q", n.ID, info["state_hash_index"])
		}
		if index > 0 { // 0: none since its start
			l.h.Hash(n.ID, index, info["state_hash"])
		}
	}
}

var (
	// errGone is a connection that the server is about to close.
	errGone = errors.New("the connection is gone")
	// errAgain is a try of which nothing was done, while an earlier one may have been carried out.
	errAgain = errors.New("to be tried again")
	// errAnew is a named session that had ended when its client came back.
	errAnew = errors.New("the session had ended")
)
