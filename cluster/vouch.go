package cluster

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// vouch is what is known of how long the cluster still counts on this
// incarnation. All times are Clock.Boot. The two limits are read by any
// goroutine; the rest belongs to agent.mu.
type vouch struct {
	// fresh is until when replies may be given, half until when PING may be
	// answered: 0 is for ever (no connection is in the state, so nothing is at
	// stake), never is not at all.
	fresh, half atomic.Int64

	from    time.Duration // when what counts was sent
	timeout time.Duration // the session-timeout that it was counted with
	running bool          // connections are in the state
}

const never = -1

// stop: there is no incarnation.
func (v *vouch) stop() {
	v.running = false
	v.fresh.Store(never)
	v.half.Store(never)
}

// idle: the incarnation has no connection in the state.
func (v *vouch) idle() {
	v.running, v.from, v.timeout = false, 0, 0
	v.fresh.Store(0)
	v.half.Store(0)
}

// count takes in that something sent at that time was applied while
// session-timeout was timeout. What was sent earlier than what counts already
// changes nothing.
func (v *vouch) count(sent, timeout time.Duration) {
	if v.running && sent <= v.from {
		return
	}
	v.running, v.from, v.timeout = true, sent, timeout
	v.publish()
}

// shrink takes in a new session-timeout; a longer one only holds for what is
// applied from now on.
func (v *vouch) shrink(timeout time.Duration) {
	if v.running && timeout < v.timeout {
		v.timeout = timeout
		v.publish()
	}
}

func (v *vouch) publish() {
	v.fresh.Store(int64(v.from + v.timeout - v.timeout/20))
	v.half.Store(int64(v.from + v.timeout/2))
	if canary.NoMargin { // until the very moment at which the machine may end it
		v.fresh.Store(int64(v.from + v.timeout))
	}
	if canary.PingAlways { // an answered PING promises nothing
		v.half.Store(v.fresh.Load())
	}
}

// keepalives numbers this incarnation's keepalives and keeps what was sent and
// not counted yet. It belongs to agent.mu.
type keepalives struct {
	number uint64        // the last one sent
	ready  bool          // one is to go with the next entry
	due    time.Duration // when the next one is due, by Clock.Boot
	next   fsm.Keepalive // what it carries; valid while ready
	sent   []sentKeepalive
	// full is what the machine was told of the disk. A node without connections
	// sends no keepalives while that is false; look is when it looks at its disk next,
	// by Clock.Boot.
	full bool
	look time.Duration
}

type sentKeepalive struct {
	number   uint64
	at       time.Duration
	contacts []fsm.SessionID
	full     bool
}

func (k *keepalives) reset() { *k = keepalives{} }

// prepare makes the next keepalive ready. It reports the new contacts and those
// of all keepalives that have not counted yet: each may be the one that is lost.
func (k *keepalives) prepare(contacts []fsm.SessionID, full bool) {
	if k.ready {
		contacts = append(contacts, k.next.Contacts...)
	}
	for _, s := range k.sent {
		contacts = append(contacts, s.contacts...)
	}
	slices.Sort(contacts)
	k.next = fsm.Keepalive{Contacts: slices.Compact(contacts), DiskFull: full}
	k.ready = true
}

// send numbers the ready keepalive.
func (k *keepalives) send(inc fsm.Incarnation, boot time.Duration) fsm.Keepalive {
	k.number++
	ka := k.next
	ka.Incarnation, ka.Number = inc, k.number
	k.ready, k.next = false, fsm.Keepalive{}
	k.sent = append(k.sent, sentKeepalive{number: ka.Number, at: boot, contacts: ka.Contacts, full: ka.DiskFull})
	return ka
}

// counted takes in that the machine has counted a keepalive, and returns when it
// was sent. Everything older is settled with it: it carried their contacts.
func (k *keepalives) counted(number uint64) (at time.Duration, ok bool) {
	for i, s := range k.sent {
		if s.number == number {
			k.sent, k.full = k.sent[:copy(k.sent, k.sent[i+1:])], s.full
			return s.at, true
		}
	}
	return 0, false
}
