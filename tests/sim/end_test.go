package sim

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// How long the end of a seed may take, in its own time.
const (
	serveLimit  = 2 * time.Minute // until all nodes serve again
	answerLimit = 2 * time.Minute // until the last wait is answered
	quietLimit  = 2 * time.Minute // until no session is left
	equalLimit  = time.Minute     // until all nodes have applied the same
)

// leaves notes an owner that will not come back.
func (w *world) leaves(owner string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = append(w.gone, owner)
}

// finish is the end of a seed: every fault is undone.
func (w *world) finish(clients *sync.WaitGroup) {
	w.eachWay(w.nodes, w.nodes, func(from, to string) { w.net.slow(way{from, to}, time.Millisecond, 0, 0) })
	if !eventually(serveLimit, w.whole) {
		w.fault("not all nodes serve again: %s", w.standing())
	}
	left := make(chan struct{})
	go func() {
		clients.Wait()
		close(left)
	}()
	select {
	case <-left:
	case <-time.After(answerLimit):
		w.given.Store(true) // those who wait complain
		<-left
	}
	if !eventually(quietLimit, w.quiet) {
		w.fault("something is left when all clients have gone: %s", w.standing())
	}
	w.settleOwners()
	time.Sleep(8 * time.Second) // a node that was full tells the others
	w.probe()
	if !eventually(equalLimit, w.equal) {
		w.fault("the nodes do not come to the same state: %s", w.standing())
	}
	w.truth.compare()
	w.ending.Store(overEnding)
	for _, p := range w.running() {
		if c := p.cluster.Load(); c != nil {
			w.stats.add("snapshots", int(c.Status().Counters.Snapshots))
		}
		w.wg.Go(p.stop)
	}
	w.stats.add("segments lost", int(w.net.lost.Load()))
	w.stats.add("entries", int(w.truth.newest()))
}

// whole says whether the cluster is all there, and starts what is down.
func (w *world) whole() bool {
	l := w.leader()
	if l == nil {
		return false
	}
	members := map[string]bool{}
	for _, m := range l.cluster.Load().Members() {
		members[m.ID] = true
	}
	serving := 0
	for _, n := range w.nodes {
		w.mu.Lock()
		p := n.proc
		if members[n.name] {
			n.member = true
		}
		w.mu.Unlock()
		switch {
		case members[n.name] && p == nil:
			n.start(nil)
		case members[n.name] && p.serves():
			serving++
		}
	}
	return serving == len(members)
}

// standing says where the nodes are.
func (w *world) standing() string {
	text := ""
	for _, p := range w.running() {
		c := p.cluster.Load()
		if c == nil {
			text += fmt.Sprintf("%s is starting; ", p.n.name)
			continue
		}
		s := c.Status()
		var stats fsm.Stats
		c.View(func(m *fsm.Machine) { stats = m.Stats() })
		text += fmt.Sprintf("%s: %s of term %d, leader %q, incarnation %d, commit %d, applied %d, queued %d, unapplied %d, %d holds, %d waiters, %d sessions, %d connections; ",
			p.n.name, s.Role, s.Term, s.LeaderID, s.Incarnation, s.Commit, s.Applied, s.Queued, s.Unapplied,
			stats.Holds, stats.Waiters, stats.Sessions, stats.Connections)
	}
	return text
}

// quiet says whether nobody holds, waits or is there on any node.
func (w *world) quiet() bool {
	for _, p := range w.running() {
		c := p.cluster.Load()
		if c == nil {
			continue
		}
		var s fsm.Stats
		c.View(func(m *fsm.Machine) { s = m.Stats() })
		if s.Holds+s.Waiters+s.Sessions+s.Connections > 0 {
			return false
		}
	}
	return true
}

// settleOwners tells the history that every session has ended by now.
func (w *world) settleOwners() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.hist.Now()
	for _, owner := range w.gone {
		w.hist.MustEnd(owner, now)
	}
	for _, s := range w.sessions {
		if !s.loose.IsZero() {
			s.ends(w.hist, w.at(s.loose), now)
		}
	}
}

// probe takes every lock that there was, on each node.
func (w *world) probe() {
	for i, p := range w.running() {
		if !p.serves() {
			continue
		}
		c := newClient(w, 1000+i)
		c.session, c.label, c.owner = nil, "", fmt.Sprint("probe", i)
		l, err := w.connect(p, "")
		if err != nil {
			w.fault("%s takes no client: %v", p.n.name, err)
			continue
		}
		c.link = l
		for _, key := range sorted(w.keys) {
			lift, take, give := c.op(fsm.OpUndestroy, key), c.op(fsm.OpTryLock, key), c.op(fsm.OpUnlock, key)
			if !c.ask(10*time.Second, lift, take, give) || take.reply.Code != fsm.CodeOK || take.reply.Int == 0 || give.reply.Code != fsm.CodeOK {
				w.fault("%s: lock %s can not be had: %+v, %+v", p.n.name, key, take.reply, give.reply)
				break
			}
		}
		c.hangUp(errLeaves)
	}
}

// equal compares the states once all nodes have applied the same.
func (w *world) equal() bool {
	synctest.Wait() // no entry is under way, and until this returns none comes: the machines may be flushed
	at := map[string]uint64{}
	for _, p := range w.running() {
		c := p.cluster.Load()
		if c == nil {
			continue
		}
		c.View(func(m *fsm.Machine) {
			at[p.n.name], _ = m.Applied()
		})
	}
	indexes := slices.Collect(maps.Values(at))
	if slices.Sort(indexes); len(slices.Compact(indexes)) > 1 {
		return false
	}
	for _, p := range w.running() {
		c := p.cluster.Load()
		if c == nil {
			continue
		}
		moved := false
		c.View(func(m *fsm.Machine) {
			if i, _ := m.Applied(); i != at[p.n.name] {
				moved = true
				return
			}
			m.Flush() // so that the hash is of now; what it writes is lost, but nobody will read it
			if err := m.CheckInvariants(); err != nil {
				w.fault("%s: %v", p.n.name, err)
			}
			w.hist.Hash(p.n.name, at[p.n.name], fmt.Sprintf("%016x", m.Hash()))
		})
		if moved {
			return false
		}
	}
	return true
}
