package cluster

import (
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// diskEvery is how often a node looks at its disk at least, also one without
// connections, which sends no keepalives while its disk is not full: while the machine
// thinks that the disk of any node is nearly full, no node grants a lock.
const diskEvery = 5 * time.Second

// vouching reports whether keepalives are sent: while connections are in the state,
// and while the disk is nearly full, which counts no longer than the keepalive that
// says so. The caller holds mu.
func (a *agent) vouching() bool {
	return a.vouch.running || a.ka.full && !canary.DiskUnseen
}

// looks reports whether the node looks at its disk. The caller holds mu.
func (a *agent) looks() bool {
	return a.phase == phaseServing && a.diskFull != nil && (a.vouch.running || !canary.DiskUnseen) // canary: only who sends keepalives looks
}

// lookAtDisk takes in that the disk has something to say.
func (a *agent) lookAtDisk() {
	a.mu.Lock()
	a.ka.look = 0
	a.mu.Unlock()
	a.awaken()
}

// prepareKeepalive makes a keepalive ready when one is due, or when the disk is not
// any more what the machine was told. The host and the disk are asked outside the lock.
func (a *agent) prepareKeepalive() {
	a.mu.Lock()
	inc := a.inc
	look := a.looks() && a.clock.Boot() >= a.ka.look
	told, seen := a.ka.full, a.time                                                                                                    // before the contacts: what is said from now on may be missing
	due := a.phase == phaseServing && !a.ka.ready && (a.markDue || (a.vouching() || canary.IdleVouches) && a.clock.Boot() >= a.ka.due) // canary: idle nodes fill the log
	a.mu.Unlock()
	if !due && !look {
		return
	}
	full := a.diskFull != nil && a.diskFull()
	var contacts []fsm.SessionID
	if due = due || full != told; due {
		contacts = a.host.Contacts()
	}
	a.mu.Lock()
	ok := a.phase == phaseServing && a.inc == inc
	if ok {
		a.ka.look = a.clock.Boot() + diskEvery
	}
	if ok = ok && due; ok {
		a.ka.prepare(contacts, full)
		a.ka.next.Seen = seen
		a.ka.next.HashIndex, a.ka.next.Hash = a.mark.index, a.mark.hash
		a.markDue = false
		a.ka.due = a.clock.Boot() + a.timeout/3
	}
	a.mu.Unlock()
	if ok {
		a.wake()
	}
}
