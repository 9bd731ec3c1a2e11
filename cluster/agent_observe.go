package cluster

import (
	"errors"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// before takes in what an applied entry says of this node, before the entry's
// replies are delivered. timeout is session-timeout after the entry. When it
// returns, the incarnation is either vouched for or its connections are closed.
func (a *agent) before(eff *fsm.Effects, timeout time.Duration) {
	a.mu.Lock()
	inc := a.inc
	var over error
	if a.phase == phaseServing {
		// What is counted here was counted by the machine with the shortest of these at least.
		counted := min(a.timeout, timeout)
		if eff.Timeout > 0 {
			counted = min(counted, time.Duration(eff.Timeout)*time.Millisecond)
		}
		a.vouch.shrink(timeout)
		over = a.observe(eff, counted)
		if over == nil && a.silent() && !canary.StaleGrant { // canary: what came before a pause is told after it
			over = ErrSilent
		}
	}
	a.time = eff.Time
	if timeout != a.timeout {
		a.timeout = timeout
		a.ka.due = 0
		a.awaken()
	}
	a.checkDrained()
	a.mu.Unlock()
	if over != nil {
		a.end(inc, over)
		if errors.Is(over, errGoneBack) {
			a.fatal(over)
		}
		return
	}
	if a.ending.Load() {
		// run is ending it this very moment: no reply may overtake that.
		a.hostMu.Lock()
		//nolint:staticcheck // waiting is all there is to do
		a.hostMu.Unlock()
	}
}

// observe settles batches and keepalives; it returns why the incarnation is
// over, if it is. The caller holds mu.
func (a *agent) observe(eff *fsm.Effects, timeout time.Duration) error {
	for _, inc := range eff.Ended {
		if inc == a.inc && !canary.RefusalIgnored { // canary: the node serves on
			return ErrEnded
		}
	}
	for _, k := range eff.Keepalives {
		if k.Incarnation != a.inc {
			continue
		}
		if k.Ended && !canary.RefusalIgnored {
			return ErrEnded
		}
		if at, ok := a.ka.counted(k.Number); ok && a.vouch.running {
			if canary.KeepaliveFromApplied { // from when it came back, however long that took
				at = a.clock.Boot()
			}
			a.vouch.count(at, timeout)
		}
	}
	freed := false
	a.appliedNow = false
	for _, b := range eff.Batches {
		if b.Incarnation != a.inc {
			continue
		}
		switch b.Status {
		case fsm.BatchApplied, fsm.BatchRepeated:
			freed = a.settle(b.Number) || freed
		case fsm.BatchEarly:
			if canary.EarlyLost { // a refused batch is taken for an applied one
				freed = a.settle(b.Number)
				break
			}
			if len(a.sent) == 0 || b.Number <= a.sent[0].number {
				return errGoneBack // to send it again would bring the same answer, without end
			}
			a.resendLocked()
			freed = true
		case fsm.BatchEnded:
			if !canary.RefusalIgnored {
				return ErrEnded
			}
		}
	}
	a.internal.observe(eff, a.inc)
	a.countLive(timeout)
	if freed {
		a.wake()
	}
	return nil
}

// settle forgets the batches up to a number: our own loop has applied them. It
// keeps when the first of this entry was first sent.
func (a *agent) settle(number uint64) bool {
	n := 0
	for n < len(a.sent) && a.sent[n].number <= number {
		n++
	}
	if n == 0 {
		return false
	}
	if !a.appliedNow {
		a.appliedNow, a.appliedSent = true, a.sent[0].first
	}
	for _, b := range a.sent[:n] {
		for _, m := range b.moves {
			if m.in {
				a.conns[m.conn] = struct{}{}
			} else {
				delete(a.conns, m.conn)
			}
		}
	}
	a.spare = append(a.spare, a.sent[:n]...)
	a.sent = a.sent[:copy(a.sent, a.sent[n:])]
	return true
}

// countLive starts and stops the keepalives. The first connection comes into the
// state by a batch of ours in the entry being applied, and the machine then
// grants a session-timeout; here it counts from when that batch was first sent.
// A connection that goes while another comes changes nothing: what counted
// before goes on. The caller holds mu.
func (a *agent) countLive(timeout time.Duration) {
	live := len(a.conns) > 0 || len(a.sent) > 0 && a.sent[0].number <= a.fastUpTo
	switch {
	case live == a.vouch.running:
	case live:
		a.vouch.count(a.appliedSent, timeout)
		a.ka.due = 0
		a.awaken()
	default:
		a.vouch.idle()
		a.ka.ready, a.ka.due = false, 0
	}
}

// after takes in, once the effects are delivered, whether our registration was applied.
func (a *agent) after(eff *fsm.Effects) {
	if len(eff.Registered) == 0 {
		return
	}
	a.mu.Lock()
	var mine *fsm.Registered
	for i := range eff.Registered {
		if r := &eff.Registered[i]; a.phase == phaseRegistering && r.Node == a.node && r.Nonce == a.reg.nonce {
			mine = r
		}
	}
	if mine != nil && mine.Incarnation == 0 {
		a.refusedLocked(mine)
		mine = nil
	}
	a.mu.Unlock()
	if mine != nil {
		a.begin(mine.Incarnation)
	}
}

// refusedLocked takes in that the machine has refused our registration. The caller
// holds mu.
func (a *agent) refusedLocked(r *fsm.Registered) {
	if r.Disk != "" {
		// Nothing of ours can change that: asked again at once, and again, it would
		// fill the log. It is sent again like one that is overdue, for the cluster may
		// have forgotten the other disk by then (CLUSTER FORGET).
		a.log.Warn("the cluster knows this node with another data directory and does not take it in: remove it (CLUSTER FORGET) and let it join anew",
			"node", a.node, "disk", a.disk, "known", r.Disk)
		return
	}
	// Another registration of this node came first; name that one.
	a.log.Info("the registration named an older incarnation; registering again", "named", uint64(a.reg.replaces), "newest", uint64(r.Newest))
	a.newest = r.Newest
	a.register()
	a.wake()
}

// begin makes the applied incarnation the one that serves.
func (a *agent) begin(inc fsm.Incarnation) {
	a.hostMu.Lock()
	defer a.hostMu.Unlock()
	a.mu.Lock()
	if a.phase != phaseRegistering {
		a.mu.Unlock()
		return
	}
	a.phase, a.inc, a.newest = phaseServing, inc, inc
	a.vouch.idle()
	a.clear()
	// Cluster settings given by flags go ahead of what clients send.
	a.queue.push(a.internal.ops(inc), a.clock.Now())
	a.mu.Unlock()
	a.log.Info("this node serves", "incarnation", uint64(inc))
	a.host.Begin(inc)
	a.serveOnce.Do(func() { close(a.served) })
	a.wake()
	a.awaken()
}
