package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/check"
	"github.com/redlockd/redlockd/tests/harness"
)

// world is a load of clients on all nodes, and what they were told. Its faults and its history are judged at the end.
type world struct {
	t       *testing.T
	c       *harness.Cluster
	h       *check.History
	timeout time.Duration // session-timeout
	random  *rand.Rand
	apart   bool // no client waits for another one's lock
	lasting bool // harm is done to it: the shared locks keep their names, and no history is kept

	cycles atomic.Int64

	over    atomic.Bool
	running sync.WaitGroup
	workers []*worker

	mu     sync.Mutex
	faults []string
	hurt   []*injury
}

// injury is a time in which a node's clients may be cut off and its sessions end.
type injury struct {
	node        string
	from, until time.Duration
	grace       time.Duration // holds of sessions that lived before it are safe for so long
}

const stillHurt = time.Duration(1<<63 - 1)

// worker is one client of the load.
type worker struct {
	w        *world
	id       int
	home     *harness.Node
	named    bool // it attaches to a session of its own, and goes to another node when its own is gone
	random   *rand.Rand
	answered atomic.Int64

	conn  *harness.Conn
	node  *harness.Node // of the connection
	owner string
	since time.Duration // when the connection was begun
	lives int           // connections so far
	ids   int
	took  int // cycles
}

const (
	sharedKeys = 3
	// cyclesOfName is for how many cycles a lock keeps its name: judging one takes longer the more was asked of it.
	cyclesOfName = 150
)

// newWorld makes a load that does not run yet.
func newWorld(t *testing.T, c *harness.Cluster, timeout time.Duration, random *rand.Rand) *world {
	t.Helper()
	return &world{t: t, c: c, h: check.New(), timeout: timeout, random: random}
}

// start lets so many anonymous clients and so many named ones work on each of the nodes.
func (w *world) start(anonymous, named int, nodes ...*harness.Node) {
	w.t.Helper()
	first := len(w.workers) == 0
	for _, n := range nodes {
		for i := range anonymous + named {
			wk := &worker{w: w, id: len(w.workers), home: n, named: i >= anonymous, random: rand.New(rand.NewPCG(w.random.Uint64(), 1))}
			w.workers = append(w.workers, wk)
			w.running.Go(wk.run)
		}
	}
	if first {
		w.t.Cleanup(func() { w.finish() }) // before the cluster's own end
	}
	w.progress(nodes...)
}

// finish ends the load and judges it. It may be called again.
func (w *world) finish() {
	w.t.Helper()
	for _, f := range w.judge() {
		w.t.Error("load: " + f)
	}
}

// judge ends the load and returns what cannot be, once.
func (w *world) judge() []string {
	if w.over.Swap(true) {
		return nil
	}
	w.running.Wait()
	report := check.Check(w.h, check.Options{Dir: w.drawings()})
	w.t.Logf("load: %v", report)
	return append(report.Faults, w.faults...)
}

// drawings is where the history of a bad run is kept; of one that shall be bad, nowhere.
func (w *world) drawings() string {
	if w.lasting {
		return ""
	}
	out, err := harness.OutDir()
	if err != nil {
		w.t.Fatal(err)
	}
	return filepath.Join(out, strings.ReplaceAll(w.t.Name(), "/", "_")+"-history")
}

func (w *world) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.faults) < 20 {
		w.faults = append(w.faults, fmt.Sprintf(format, args...))
	}
}

// hurts says, before it is done, that a node's clients are cut off from now on. grace is for how long the holds of
// those that live now are safe all the same.
func (w *world) hurts(n *harness.Node, grace time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hurt = append(w.hurt, &injury{n.ID, w.h.Now(), stillHurt, grace})
}

// healed says that the node serves again: what begins from now on must be kept.
func (w *world) healed(n *harness.Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.hurt {
		if i.node == n.ID && i.until == stillHurt {
			i.until = w.h.Now()
		}
	}
}

// stalled reports whether the machine has stood still for so long that sessions may have ended.
func (w *world) stalled() bool {
	return slices.ContainsFunc(w.c.Stalls(), func(s harness.Stall) bool { return s.For > w.timeout/3 })
}

// excuse finds since when the holds of a connection may be gone.
func (w *world) excuse(node string, began time.Duration) (from time.Duration, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, i := range w.hurt {
		if i.node != node || i.until < began {
			continue
		}
		if began < i.from {
			return i.from + i.grace, true
		}
		return began, true
	}
	return 0, false
}

// progress waits until each client of the nodes has had some more answers.
func (w *world) progress(nodes ...*harness.Node) {
	w.t.Helper()
	const some = 20
	from := map[*worker]int64{}
	for _, wk := range w.workers {
		for _, n := range nodes {
			if wk.home == n {
				from[wk] = wk.answered.Load()
			}
		}
	}
	harness.Until(w.t, "the load goes on", func() bool {
		w.mu.Lock()
		failed := len(w.faults) > 0
		w.mu.Unlock()
		if failed {
			return true // told at the end
		}
		for wk, n := range from {
			if wk.answered.Load() < n+some {
				return false
			}
		}
		return true
	})
}

var (
	// errGone is a connection that the server is about to close.
	errGone = errors.New("the connection is gone")
	// errDown is a try of which nothing was done.
	errDown = errors.New("CLUSTERDOWN")
)

// breath is the pause before a client tries again what was refused.
func (wk *worker) breath() { harness.Poll(20*time.Millisecond, wk.w.over.Load) }

func (wk *worker) run() {
	for !wk.w.over.Load() {
		if !wk.connect() {
			wk.breath()
			continue
		}
		err := wk.cycle()
		for err == nil && !wk.w.over.Load() {
			err = wk.cycle()
		}
		if err != nil && wk.conn != nil {
			wk.broke(err)
		}
	}
	if wk.conn != nil {
		wk.bye()
	}
}

// bye ends a connection that works.
func (wk *worker) bye() {
	if !wk.named {
		wk.w.h.MayEnd(wk.owner, wk.w.h.Now())
	}
	_ = wk.conn.Close()
	wk.conn = nil
}

// broke says whether a connection was allowed to break, and since when its holds may be gone.
func (wk *worker) broke(err error) {
	_ = wk.conn.Close() // broken already
	wk.conn = nil
	from, ok := wk.w.excuse(wk.node.ID, wk.since)
	if !ok && harness.Poll(200*time.Millisecond, wk.w.stalled) {
		from, ok = 0, true // what was promised for session-timeout may have ended
	}
	if !ok {
		wk.w.fault("client %d lost its connection to %s, where nothing happened: %v", wk.id, wk.node.ID, err)
		from = 0
	}
	if !wk.named {
		wk.w.h.MayEnd(wk.owner, from)
	}
}

// connect connects to the home node; a named client to any node if that is not there.
func (wk *worker) connect() bool {
	if wk.conn != nil {
		return true
	}
	nodes := []*harness.Node{wk.home}
	if wk.named {
		nodes = append(nodes, wk.w.c.Nodes()...)
	}
	for _, n := range nodes {
		wk.since = wk.w.h.Now()
		conn, err := harness.DialWithin(n.Addr(), time.Second)
		if err != nil {
			continue
		}
		wk.lives++
		wk.owner = fmt.Sprintf("client %d.%d", wk.id, wk.lives)
		if wk.named {
			wk.owner = fmt.Sprintf("client %d", wk.id)
			var v harness.Value
			if err = conn.Send("SESSION", "ATTACH", fmt.Sprintf("load-%d", wk.id), "TTL", "120000"); err == nil {
				v, err = conn.ReceiveWithin(wk.patience())
			}
			if err != nil || len(v.Items) != 2 {
				_ = conn.Close() // another node will do
				continue
			}
			if wk.lives > 1 && v.Items[1].Text != "resumed" && wk.answered.Load() > 0 {
				wk.w.fault("client %d: its session was %s when it came back", wk.id, v.Items[1].Text)
			}
		}
		wk.conn, wk.node = conn, n
		return true
	}
	return false
}

// step is one command of a cycle.
type step struct {
	kind check.Kind
	op   *check.Op
	args []string
	// settled: its answer has come.
	settled bool
}

var words = map[check.Kind]string{check.Acquire: "LOCK", check.Release: "UNLOCK", check.Count: "LOCKCOUNT"}

func (wk *worker) step(kind check.Kind, key string) *step {
	s := &step{kind: kind, args: []string{words[kind], key}}
	if wk.named {
		s.args = append(s.args, "OWNER", "o")
		if kind != check.Count {
			wk.ids++
			s.args = append(s.args, "ID", fmt.Sprintf("r%d", wk.ids))
		}
	}
	return s
}

// cycle takes a lock some times and gives it back as often: a key of its own in one piece, or a shared one.
func (wk *worker) cycle() error {
	times := 1 + wk.random.IntN(3)
	key := fmt.Sprintf("shared:%d", wk.random.IntN(sharedKeys))
	if n := wk.w.cycles.Add(1); !wk.w.lasting {
		key += fmt.Sprintf(":%d", n/cyclesOfName)
	}
	own := wk.w.apart || wk.random.IntN(3) > 0
	if wk.took++; own {
		key = fmt.Sprintf("own:%d:%d", wk.id, wk.took/cyclesOfName)
		if !wk.named {
			key += fmt.Sprintf(".%d", wk.lives)
		}
	}
	var steps []*step
	for range times {
		steps = append(steps, wk.step(check.Acquire, key))
	}
	steps = append(steps, wk.step(check.Count, key))
	for range times {
		steps = append(steps, wk.step(check.Release, key))
	}
	if own && !wk.named {
		err := wk.do(steps)
		for _, s := range steps {
			s.abandon()
		}
		return err
	}
	for _, s := range steps {
		if err := wk.insist(s); err != nil {
			s.abandon()
			return err
		}
	}
	return nil
}

// abandon says that no answer will come, unless one came.
func (s *step) abandon() {
	if s.op != nil && !s.settled {
		s.op.Unknown()
	}
}

// insist carries out one step; a named client repeats it, on any node, until it has the answer.
func (wk *worker) insist(s *step) error {
	for {
		err := wk.do([]*step{s})
		if err == nil || !wk.named {
			return err
		}
		if errors.Is(err, errDown) { // this try did nothing; an earlier one may have
			wk.breath()
			continue
		}
		if isTimeout(err) {
			wk.leave() // its node may be frozen
		} else {
			wk.broke(err)
		}
		if !harness.Poll(harness.Patience, wk.connect) {
			wk.w.fault("client %d: no node takes it in any more", wk.id)
			return errGone
		}
	}
}

// leave gives up a connection that does not answer.
func (wk *worker) leave() {
	_ = wk.conn.Close() // nobody listens there
	wk.conn = nil
}

// do sends steps in one piece and takes their answers.
func (wk *worker) do(steps []*step) error {
	var out []byte
	for _, s := range steps {
		if s.op == nil {
			s.op = wk.w.h.Begin(wk.owner, s.kind, s.args[1])
		}
		out = harness.AppendCommand(out, s.args...)
	}
	if err := wk.conn.SendRaw(out); err != nil {
		return err
	}
	for _, s := range steps {
		v, err := wk.conn.ReceiveWithin(wk.patience())
		if err != nil {
			return err
		}
		if err := wk.settle(s, v); err != nil {
			return err
		}
	}
	return nil
}

// patience is how long a client waits for an answer. A named one can ask again elsewhere.
func (wk *worker) patience() time.Duration {
	if wk.named {
		return 2 * time.Second
	}
	return 2 * harness.Patience
}

func (wk *worker) settle(s *step, v harness.Value) error {
	wk.answered.Add(1)
	switch code := v.Code(); {
	case v.Kind == harness.Int:
		s.op.Done(v.Int)
	case code == "CLUSTERDOWN" && wk.named:
		return errDown
	case code == "CLUSTERDOWN":
		s.op.Nothing()
		wk.breath()
	case code == "NOTOWNER" && s.kind == check.Release:
		s.op.NotHeld() // judged with the rest
	case code == "LOCKLOST" && s.kind == check.Release:
		s.op.Lost()
	case code == "UNCERTAIN", code == "NOSESSION":
		return fmt.Errorf("%w: %v", errGone, v)
	default:
		wk.w.fault("client %d on %s: %s answered %v", wk.id, wk.node.ID, strings.Join(s.args, " "), v)
		return fmt.Errorf("%w: %v", errGone, v)
	}
	s.settled = true
	return nil
}
