package cluster

import (
	"slices"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// run does what is due by time: keepalives, sending again, request-timeout, and
// the end of an incarnation that nobody vouches for any more.
func (a *agent) run() {
	defer close(a.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		a.endSilent()
		a.prepareKeepalive()
		a.expireRequests()
		timer.Reset(a.plan())
		select {
		case <-timer.C:
		case <-a.kick:
		case <-a.quit:
			return
		}
		a.mu.Lock()
		a.sleeping = time.Time{}
		a.mu.Unlock()
	}
}

// longSleep is how long run sleeps when nothing is planned.
const longSleep = time.Hour

// plan sends again what is overdue and returns how long there is nothing to do.
func (a *agent) plan() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now()
	wake := false
	if !a.retryAt.IsZero() && !a.retryAt.After(now) {
		a.resendLocked()
		wake = true
	}
	next := longSleep
	until := func(d time.Duration) { next = min(next, max(d, 0)) }
	if !a.retryAt.IsZero() {
		until(a.retryAt.Sub(now))
	}
	if a.phase == phaseRegistering && !a.reg.due {
		if d := a.reg.sent.Add(overdueAfter).Sub(now); d > 0 {
			until(d)
		} else {
			a.reg.due, wake = true, true
		}
	}
	for _, b := range a.sent {
		if !b.due && !canary.OverdueForgotten { // canary: a batch that was lost on the way is never sent again
			if d := b.sent.Add(overdueAfter).Sub(now); d > 0 {
				until(d)
			} else {
				b.due, wake = true, true
			}
		}
		if at, ok := b.oldest(); ok {
			until(at.Add(a.requestTimeout).Sub(now))
		}
	}
	if at, ok := a.queue.oldest(); ok {
		until(at.Add(a.requestTimeout).Sub(now))
	}
	if a.looks() {
		until(a.ka.look - a.clock.Boot())
	}
	if a.vouch.running {
		until(silenceCheck)
		boot := a.clock.Boot()
		until(time.Duration(a.vouch.fresh.Load()) - boot)
	}
	if a.vouching() {
		// The next one is due whether or not the last has been drawn; one that is
		// ready and overdue waits for the leader, not for us.
		if d := a.ka.due - a.clock.Boot(); d > 0 || !a.ka.ready {
			until(d)
		}
	}
	a.sleeping = now.Add(next)
	if wake {
		a.wake()
	}
	return next
}

// endSilent ends the incarnation if its newest counted keepalive is too old.
func (a *agent) endSilent() {
	a.mu.Lock()
	inc, silent := a.inc, a.silent()
	a.mu.Unlock()
	if silent {
		a.end(inc, ErrSilent)
	}
}

// silent reports whether the time vouched for has run out. The caller holds mu.
func (a *agent) silent() bool {
	return !canary.SilenceIgnored && a.phase == phaseServing && a.vouch.running && // canary: nobody ends the incarnation
		int64(a.clock.Boot()) >= a.vouch.fresh.Load()
}

// expireRequests answers what request-timeout has passed for: ops still queued
// are taken out, ops in sent batches are uncertain, and their batches are sent
// again all the same.
func (a *agent) expireRequests() {
	a.mu.Lock()
	now := a.clock.Now()
	cutoff := now.Add(-a.requestTimeout)
	refused := a.refused
	a.refused = nil
	var late []fsm.Address
	for _, b := range a.sent {
		l, err := b.overdue(cutoff)
		if err != nil {
			a.mu.Unlock()
			a.fatal(err)
			return
		}
		late = append(late, l...)
	}
	if canary.BatchGivenUp && len(late) > 0 { // the machine waits for its number for ever
		a.sent = nil
	}
	if canary.BatchReused && len(late) > 0 { // other ops get its number
		a.number -= uint64(len(a.sent))
		a.sent = nil
	}
	down := a.queue.expire(cutoff, now, a.opened)
	a.checkDrained()
	a.mu.Unlock()
	if len(refused) > 0 {
		a.host.Down(refused, ErrClosing)
	}
	if len(late) > 0 {
		a.log.Warn("requests were not answered within request-timeout; their outcome is uncertain", "requests", len(late))
		a.host.Uncertain(late, ErrUncertain)
	}
	if len(down) > 0 {
		a.log.Warn("requests were not taken within request-timeout; nothing was done", "requests", len(down))
		a.host.Down(down, ErrDown)
	}
}

// opened reports whether a connection was ever sent to the machine, or may have been.
// The caller holds mu.
func (a *agent) opened(c fsm.ConnID) bool {
	if _, ok := a.conns[c.Number()]; ok {
		return true
	}
	return slices.ContainsFunc(a.sent, func(b *batch) bool { return slices.Contains(b.moves, move{c.Number(), true}) })
}

// end ends the incarnation on this node and registers anew. It returns after
// the host has closed the connections, also when another goroutine got here first.
func (a *agent) end(inc fsm.Incarnation, reason error) {
	a.hostMu.Lock()
	defer a.hostMu.Unlock()
	a.mu.Lock()
	if a.phase != phaseServing || a.inc != inc {
		a.mu.Unlock()
		return
	}
	a.phase = phaseEnding
	a.ending.Store(true)
	a.vouch.stop()
	a.clear()
	a.mu.Unlock()
	a.log.Warn("this node's incarnation is over; its client connections are closed", "incarnation", uint64(inc), "error", reason)
	a.host.End(inc, reason)
	a.ending.Store(false)
	a.mu.Lock()
	if a.phase == phaseEnding {
		a.register()
	}
	a.checkDrained()
	a.mu.Unlock()
	a.wake()
	a.awaken()
}

// clear forgets all that belongs to the incarnation: its batches may still be
// applied, but nobody waits for them. The caller holds mu.
func (a *agent) clear() {
	a.queue.reset()
	a.spare = append(a.spare, a.sent...)
	a.sent, a.number, a.fastUpTo = nil, 0, 0
	a.ka.reset()
	clear(a.conns)
	a.retryAt = time.Time{}
	a.internal.lost()
}

// close takes no more ops and returns a channel that is closed once nothing is
// queued or unapplied.
func (a *agent) close() <-chan struct{} {
	a.mu.Lock()
	a.closing = true
	a.checkDrained()
	a.mu.Unlock()
	return a.drained
}

// checkDrained notes that a closing agent has nothing left. The caller holds mu.
func (a *agent) checkDrained() {
	if !a.closing || len(a.queue.ops) > 0 || len(a.sent) > 0 || len(a.refused) > 0 {
		return
	}
	select {
	case <-a.drained:
	default:
		close(a.drained)
	}
}

// stop ends run and answers what is left: nothing more will be applied.
func (a *agent) stop() {
	close(a.quit)
	<-a.done
	a.mu.Lock()
	a.phase = phaseClosed
	down := append(a.refused, a.queue.ops...)
	a.refused = nil
	var late []fsm.Address
	for _, b := range a.sent {
		// A cutoff in the future takes them all. The batch was encoded by us: it decodes.
		l, _ := b.overdue(a.clock.Now().Add(longSleep))
		late = append(late, l...)
	}
	a.clear()
	a.queue.reset()
	a.mu.Unlock()
	if len(late) > 0 {
		a.host.Uncertain(late, ErrUncertain)
	}
	if len(down) > 0 {
		a.host.Down(down, ErrClosing)
	}
	a.mu.Lock()
	a.vouch.stop() // last: a host answers nothing for a node that is not fresh
	a.mu.Unlock()
}
