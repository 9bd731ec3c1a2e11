package cluster

import (
	"slices"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// This file is what an agent does only where there are other nodes: fast
// answers, snapshots taken over, hashes to be compared.

// fast takes replies that the leader sent ahead of our own loop. They change
// nothing but the slots that they fill; but from now on somebody has been told
// something, so that the node must be vouched for, from when the batch was first
// sent: our own loop may be long in coming. left is how long the incarnation had left
// when the leader said so: what it was first given may have been counted with a
// session-timeout of which we know nothing yet.
func (a *agent) fast(replies []fsm.Reply, left time.Duration) {
	if len(replies) == 0 || a.ending.Load() {
		return
	}
	a.mu.Lock()
	if a.phase != phaseServing || replies[0].Conn.Incarnation() != a.inc {
		a.mu.Unlock()
		return
	}
	a.fastUpTo = a.number
	if canary.FastRenews { // the leader's word vouches for this node
		a.vouch.count(a.clock.Boot(), a.timeout)
	}
	if !a.vouch.running && len(a.sent) > 0 && !canary.FastUnvouched { // canary: somebody was told something, and nobody vouches
		a.vouch.count(a.sent[0].first-max(0, a.timeout-left), a.timeout)
		a.ka.due = 0
		a.awaken()
	}
	a.mu.Unlock()
	a.host.Fast(replies)
}

// shorten takes in session-timeout as it is at the leader, ahead of our own loop:
// what it tells with it counts for no longer than that.
func (a *agent) shorten(timeout time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if timeout < a.timeout {
		a.timeout = timeout
		a.vouch.shrink(timeout)
		a.ka.due = 0
		a.awaken()
	}
}

// marked takes in the state hash at a new index. It goes with a keepalive of its
// own, also when no connection is in the state.
func (a *agent) marked(m hashMark) {
	a.mu.Lock()
	a.mark, a.markDue = m, true
	a.mu.Unlock()
	a.awaken()
}

// installed takes in that the state was replaced by another node's: me is this
// node there, and stands tells where a connection stands in it. It comes from the
// apply goroutine.
func (a *agent) installed(me fsm.NodeInfo, timeout time.Duration, stands func(fsm.ConnID) (fsm.ConnInfo, bool)) {
	a.mu.Lock()
	inc := a.inc
	counted := min(a.timeout, timeout)
	a.timeout = timeout
	switch {
	case a.phase == phaseRegistering:
		mine := me.Nonce == a.reg.nonce && me.Alive
		if !mine && me.Incarnation != a.newest {
			a.newest = me.Incarnation
			a.register()
		}
		a.mu.Unlock()
		if mine {
			a.begin(me.Incarnation)
		}
		a.wake()
		return
	case a.phase != phaseServing:
		a.newest = me.Incarnation
		a.mu.Unlock()
		return
	case me.Incarnation != inc || !me.Alive:
		a.newest = me.Incarnation
		a.mu.Unlock()
		a.end(inc, ErrEnded)
		return
	}
	a.vouch.shrink(timeout)
	sent := a.skipped(me.Batch)
	// Session-timeout may have been shorter in what was skipped, and is long again.
	// What is sure is how long the incarnation had left when the snapshot was taken,
	// and that what it knows of was sent before. So it counts as if sent that much earlier.
	late := time.Duration(0)
	if me.Connections > 0 {
		late = max(0, counted-time.Duration(me.Left)*time.Millisecond)
	}
	for n := me.Keepalive; n > 0 && len(a.ka.sent) > 0 && n >= a.ka.sent[0].number; n-- {
		if at, ok := a.ka.counted(n); ok && a.vouch.running {
			a.vouch.count(at-late, counted)
		}
	}
	a.appliedNow = false
	a.settle(me.Batch)
	a.appliedSent -= late
	a.countLive(counted)
	a.internal.installed()
	conns := make(map[uint32]struct{}, len(a.conns))
	for n := range a.conns {
		conns[n] = struct{}{}
	}
	silent := a.silent()
	a.checkDrained()
	a.mu.Unlock()
	if silent {
		a.end(inc, ErrSilent)
		return
	}
	if canary.InstallBlind { // nobody compares
		return
	}
	a.host.Installed(func(c fsm.ConnID) fsm.Standing {
		s := fsm.Standing{Sent: sent[c]}
		s.ConnInfo, s.There = stands(c)
		_, s.Expected = conns[c.Number()]
		return s
	})
	a.wake()
}

// skipped returns, for each connection, its highest op in the batches up to a
// number that our own loop has not applied. The caller holds mu.
func (a *agent) skipped(number uint64) map[fsm.ConnID]uint64 {
	sent := map[fsm.ConnID]uint64{}
	for _, b := range a.sent {
		if b.number > number {
			break
		}
		// It was encoded by us: it decodes.
		item, _ := fsm.DecodeItem(b.item)
		for i := range item.Batch.Ops {
			if o := &item.Batch.Ops[i]; !nobodys(o) {
				sent[o.Conn] = max(sent[o.Conn], o.Seq)
			}
		}
	}
	return sent
}

// diverged ends the incarnation if it is one of these.
func (a *agent) diverged(all []fsm.Incarnation) bool {
	a.mu.Lock()
	inc, serving := a.inc, a.phase == phaseServing
	a.mu.Unlock()
	if !serving || !slices.Contains(all, inc) {
		return false
	}
	a.end(inc, ErrDiverged)
	return true
}
