package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/redlockd/redlockd/cluster"
	"github.com/redlockd/redlockd/fsm"
)

// do carries out a fault, and undoes it in the end. What can not be done now (the
// node is down, or in another fault's hands) is left out.
func (w *world) do(e event) {
	acts := map[string]func(event) bool{
		"crash": w.crash, "crash all": w.crashAll, "exit": w.exit, "stop": w.stop, "freeze": w.freeze,
		"disk full": w.fillDisk, "disk stalls": w.stallDisk,
		"isolate": w.isolate, "one-way cut": w.cutOneWay, "deaf": w.cutSide, "mute": w.cutSide, "split": w.split,
		"reset": w.reset, "slow": w.slow, "hand over": w.handOver, "hand over and die": w.handOverAndDie, "replace": w.replace,
		"slow disk": w.slowDisk, "at an election": w.atElection, "several": w.several,
	}
	if acts[e.what](e) {
		w.stats.add(e.what, 1)
	} else {
		w.stats.add("left out", 1)
	}
}

// target returns the process that a fault is for and takes it, so that no other
// fault does before release; nil: there is none to be had.
func (w *world) target(e event) *process {
	var p *process
	if e.node < 0 {
		p = w.leader()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if p == nil {
		p = w.nodes[max(e.node, 0)].proc
	}
	if p == nil || p.n.proc != p || p.n.busy || p.cluster.Load() == nil {
		return nil
	}
	p.n.busy = true
	return p
}

func (w *world) release(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n.busy = false
}

func (w *world) crash(e event) bool {
	p := w.target(e)
	if p == nil {
		return false
	}
	defer w.release(p.n)
	if p.kill(e.percent, e.loud) {
		w.stats.add("crash restarts", 1)
		time.Sleep(e.lasts)
		p.n.start(nil)
	}
	return true
}

// crashAll takes the power from all nodes at once.
func (w *world) crashAll(e event) bool {
	rng := rand.New(rand.NewPCG(e.seed, 1))
	for _, p := range w.running() {
		w.mu.Lock()
		free := !p.n.busy
		p.n.busy = true
		w.mu.Unlock()
		if !free {
			continue
		}
		back := e.lasts + time.Duration(rng.Int64N(int64(3*time.Second)))
		if !p.kill(e.percent, e.loud) {
			w.release(p.n)
			continue
		}
		w.stats.add("crash restarts", 1)
		w.wg.Go(func() {
			defer w.release(p.n)
			time.Sleep(back)
			p.n.start(nil)
		})
	}
	time.Sleep(e.lasts + 3*time.Second)
	return true
}

// exit ends a process as kill -9 does: the system keeps what was written.
func (w *world) exit(e event) bool {
	e.percent, e.loud = 100, true
	return w.crash(e)
}

func (w *world) stop(e event) bool {
	p := w.target(e)
	if p == nil {
		return false
	}
	defer w.release(p.n)
	p.stop()
	time.Sleep(e.lasts)
	p.n.start(nil)
	return true
}

// freeze stops a process, or its machine, for a while; see the package.
func (w *world) freeze(e event) bool {
	p := w.target(e)
	if p == nil {
		return false
	}
	defer w.release(p.n)
	p.clock.freeze()
	p.answers.shut()
	p.log.shut()
	p.nudge()
	p.doubtClients(e.lasts)
	w.cutOff(p.n)
	time.Sleep(e.lasts)
	p.clock.thaw(e.flip)
	undo := []func(){p.answers.lift, p.log.lift, func() { w.rejoin(p.n) }}
	rand.New(rand.NewPCG(e.seed, 2)).Shuffle(len(undo), func(i, j int) { undo[i], undo[j] = undo[j], undo[i] })
	for _, f := range undo {
		f()
		time.Sleep(time.Millisecond)
	}
	return true
}

// nudge gives the process something for the log. If it leads, that holds its Raft in
// the midst of writing, as a leader that finds itself deposed when it has thawed.
func (p *process) nudge() {
	l, err := p.n.w.connect(p, "")
	if err != nil {
		return
	}
	l.send([]*call{{op: fsm.Op{Code: fsm.OpSessionID}}})
	l.drop(errLeaves, 0)
}

func (w *world) fillDisk(e event) bool {
	p := w.target(e)
	if p == nil {
		return false
	}
	w.release(p.n) // other faults may come meanwhile
	p.full.Store(true)
	time.Sleep(e.lasts)
	p.full.Store(false)
	return true
}

func (w *world) stallDisk(e event) bool {
	p := w.target(e)
	if p == nil {
		return false
	}
	defer w.release(p.n)
	p.log.shut()
	time.Sleep(e.lasts)
	p.log.lift()
	return true
}

// eachWay does something with the ways from one group of nodes to another.
func (w *world) eachWay(from, to []*node, do func(from, to string)) {
	for _, a := range from {
		for _, b := range to {
			if a != b {
				do(a.addr(), b.addr())
			}
		}
	}
}

// cutOff cuts a node off from all others, in both directions; rejoin undoes it.
func (w *world) cutOff(n *node) {
	w.eachWay([]*node{n}, w.nodes, w.net.cut)
	w.eachWay(w.nodes, []*node{n}, w.net.cut)
}

func (w *world) rejoin(n *node) {
	w.eachWay([]*node{n}, w.nodes, w.net.heal)
	w.eachWay(w.nodes, []*node{n}, w.net.heal)
}

// nodeOf is the node of a fault that no process need be there for.
func (w *world) nodeOf(e event) *node {
	if e.node < 0 {
		if p := w.leader(); p != nil {
			return p.n
		}
	}
	return w.nodes[max(e.node, 0)]
}

func (w *world) isolate(e event) bool {
	n := w.nodeOf(e)
	w.cutOff(n)
	time.Sleep(e.lasts)
	w.rejoin(n)
	return true
}

func (w *world) cutOneWay(e event) bool {
	a, b := w.nodeOf(e).addr(), w.nodes[e.other].addr()
	if a == b {
		return false
	}
	if e.flip {
		a, b = b, a
	}
	w.net.cut(a, b)
	time.Sleep(e.lasts)
	w.net.heal(a, b)
	return true
}

// cutSide makes a node deaf or mute.
func (w *world) cutSide(e event) bool {
	from, to := []*node{w.nodeOf(e)}, w.nodes
	if e.what == "deaf" {
		from, to = to, from
	}
	w.eachWay(from, to, w.net.cut)
	time.Sleep(e.lasts)
	w.eachWay(from, to, w.net.heal)
	return true
}

// split parts the nodes in two.
func (w *world) split(e event) bool {
	var sides [2][]*node
	for i, n := range w.nodes {
		sides[e.seed>>i&1] = append(sides[e.seed>>i&1], n)
	}
	w.eachWay(sides[0], sides[1], w.net.cut)
	w.eachWay(sides[1], sides[0], w.net.cut)
	time.Sleep(e.lasts)
	w.eachWay(sides[0], sides[1], w.net.heal)
	w.eachWay(sides[1], sides[0], w.net.heal)
	return true
}

func (w *world) reset(e event) bool {
	w.net.reset(w.nodeOf(e).addr(), w.nodes[e.other].addr())
	return true
}

// slow makes the ways of a node slow and lossy.
func (w *world) slow(e event) bool {
	n := w.nodeOf(e)
	rng := rand.New(rand.NewPCG(e.seed, 3))
	delay, loss := time.Duration(rng.Int64N(int64(60*time.Millisecond))), 0.0
	if e.flip {
		loss = 0.01
	}
	set := func(delay, jitter time.Duration, loss float64) func(from, to string) {
		return func(from, to string) { w.net.slow(way{from, to}, delay, jitter, loss) }
	}
	w.eachWay([]*node{n}, w.nodes, set(delay, delay+time.Millisecond, loss))
	w.eachWay(w.nodes, []*node{n}, set(delay, delay+time.Millisecond, loss))
	time.Sleep(e.lasts)
	w.eachWay([]*node{n}, w.nodes, set(time.Millisecond, time.Millisecond, w.conf.loss))
	w.eachWay(w.nodes, []*node{n}, set(time.Millisecond, time.Millisecond, w.conf.loss))
	return true
}

// handOver makes the leader give its office to another one.
func (w *world) handOver(e event) bool {
	p := w.leader()
	if p == nil {
		return false
	}
	to := ""
	if e.flip {
		to = w.nodes[e.other].name
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return p.cluster.Load().Failover(ctx, to) == nil // it may be losing it already
}

// replace takes a spare node in, and another one out.
func (w *world) replace(e event) bool {
	spare, join := w.spare()
	if spare == nil {
		return false
	}
	defer w.release(spare)
	spare.start(join)
	if !eventually(time.Minute, func() bool { return w.votes(spare) }) {
		// Faults kept it out, or threw it down: it goes, and comes another time. It
		// may be a member all the same; then whoever leads forgets it.
		w.forget(spare)
		return false
	}
	w.mu.Lock()
	spare.member = true
	out := w.nodes[e.other]
	for i := 0; i < len(w.nodes) && (!out.member || out == spare); i++ {
		out = w.nodes[(e.other+i)%len(w.nodes)]
	}
	w.mu.Unlock()
	w.forget(out)
	return true
}

// spare returns a node that is no member, and the addresses of those that are.
func (w *world) spare() (*node, []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var spare *node
	var join []string
	for _, n := range w.nodes {
		switch {
		case n.member && n.proc != nil:
			join = append(join, n.addr())
		case !n.member && n.proc == nil && !n.busy && spare == nil:
			spare = n
		}
	}
	if spare == nil || len(join) == 0 {
		return nil, nil
	}
	spare.busy = true
	return spare, join
}

// votes says whether the leader counts the node as a voter.
func (w *world) votes(n *node) bool {
	p := w.leader()
	if p == nil {
		return false
	}
	for _, m := range p.cluster.Load().Members() {
		if m.ID == n.name && m.Voter {
			return true
		}
	}
	return false
}

// forget removes a node, trying for as long as somebody else keeps it.
func (w *world) forget(n *node) {
	w.mu.Lock()
	n.forgotten = true
	if n.proc != nil && !w.conf.strict {
		now := time.Now()
		n.proc.given.CompareAndSwap(nil, &now)
	}
	w.mu.Unlock()
	removed := eventually(time.Minute, func() bool {
		p := w.leader()
		if p == nil {
			return false
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err := p.cluster.Load().Forget(ctx, n.name)
		if err != nil && p.n == n && !errors.Is(err, cluster.ErrNoLeader) {
			_ = p.cluster.Load().Failover(ctx, "")
		}
		return err == nil || strings.Contains(err.Error(), "there is no node")
	})
	if !removed {
		w.stats.add("not forgotten", 1)
		return
	}
	w.stats.add("forgotten", 1)
	w.mu.Lock()
	p := n.proc
	w.mu.Unlock()
	if p != nil {
		// It is told, or will be when it asks; who operates it need not wait for that.
		if eventually(20*time.Second, func() bool { return p.dead.Load() }) {
			eventually(10*time.Second, func() bool { w.mu.Lock(); defer w.mu.Unlock(); return !n.member })
			return
		}
		p.kill(100, true)
	}
	n.wipe()
}
