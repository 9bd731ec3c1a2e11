package cluster

import (
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// Pace of the agent.
const (
	// maxBatches is how many batches may be unapplied at once.
	maxBatches = 2
	// overdueAfter is how long a batch or registration may go without being
	// applied before it is sent again.
	overdueAfter = time.Second
	// retryAfter is how soon something is sent again after a failed answer.
	retryAfter = 100 * time.Millisecond
	// silenceCheck is how often the age of the keepalive is looked at while
	// connections are in the state: timers stand still in a suspend, the age does not.
	silenceCheck = time.Second
)

// phase is where the agent's incarnation is in its life.
type phase uint8

const (
	phaseIdle        phase = iota // not started
	phaseRegistering              // a registration is to be applied
	phaseServing                  // it is applied by our own loop, and the host serves
	phaseEnding                   // the host is closing its connections
	phaseClosed                   // for good
)

// agentOptions is what an agent is made of.
type agentOptions struct {
	node           string
	disk, announce string // of the registration
	host           Host
	clock          Clock
	log            *slog.Logger
	rand           io.Reader
	requestTimeout time.Duration
	batchBytes     int
	diskFull       func() bool // does not wait; may be nil
	// wake tells the links to the leader that something is to be drawn. It must not block.
	wake func()
	// fatal is told what can not be lived with.
	fatal func(error)
	// settings are cluster settings given by flags; setting reads the machine.
	settings map[string]string
	setting  func(name string) (value string, ok bool)
}

// agent speaks for this node's connections: it holds the incarnation, the queue
// of ops, the batches that are not applied yet, and the keepalives. What it
// wants in the log is drawn from it by the link to the leader: the local
// proposer, or later a forwarder to another node. What became of it, it learns
// from its own apply loop alone.
type agent struct {
	agentOptions
	vouch vouch

	kick chan struct{} // wakes run; capacity 1
	quit chan struct{}
	done chan struct{}

	// served is closed when the host serves for the first time.
	served    chan struct{}
	serveOnce sync.Once

	// hostMu puts Host.Begin and Host.End in order. ending is set while End runs,
	// so that the apply loop holds replies back until it has returned.
	hostMu sync.Mutex
	ending atomic.Bool

	mu      sync.Mutex
	phase   phase
	closing bool
	inc     fsm.Incarnation
	newest  fsm.Incarnation // the newest incarnation of this node that we know of
	reg     registration
	queue   opQueue
	refused []*fsm.Op // proposed while closing
	number  uint64    // of the last batch sealed
	sent    []*batch  // sealed and not applied, ascending
	spare   []*batch
	ka      keepalives
	// conns are the connections that our applied batches have opened and not
	// ended. The machine may have ended one by itself, so it never has more.
	conns    map[uint32]struct{}
	timeout  time.Duration // session-timeout as last applied
	time     int64         // cluster time as last applied, in ms
	retryAt  time.Time     // when to send everything again; zero: not planned
	sleeping time.Time     // until when run sleeps; zero: it is awake
	// appliedNow: the entry being applied settled a batch of ours; appliedSent is
	// when the first such was first sent, by Clock.Boot.
	appliedNow  bool
	appliedSent time.Duration
	// fastUpTo is the newest batch sealed when the newest fast answer came: its
	// connections may have been told something before our own loop knows of them.
	fastUpTo uint64
	// markDue: the state hash at a new index is to be reported, also when no
	// connection is in the state.
	mark     hashMark
	markDue  bool
	internal internalOps
	drained  chan struct{} // closed once closing and nothing is left
	counts   agentCounts
}

// registration is the request for an incarnation that is under way.
type registration struct {
	nonce    fsm.Nonce
	replaces fsm.Incarnation
	item     []byte
	due      bool
	sent     time.Time
}

// hashMark is the state hash at an index at which it is compared.
type hashMark struct{ index, hash uint64 }

// agentCounts are counted since the start; under agent.mu.
type agentCounts struct {
	ops, batches, resent, keepalives, registrations uint64
}

func newAgent(o agentOptions) *agent {
	if canary.SuspendUnseen { // a node that was suspended takes itself for vouched for
		o.clock = awakeClock{o.clock}
	}
	a := &agent{
		agentOptions: o,
		kick:         make(chan struct{}, 1),
		quit:         make(chan struct{}),
		done:         make(chan struct{}),
		drained:      make(chan struct{}),
		conns:        make(map[uint32]struct{}),
		served:       make(chan struct{}),
		internal:     internalOps{want: o.settings, current: o.setting, settled: make(chan struct{})},
	}
	a.vouch.stop()
	return a
}

// start registers the node; newest is its newest incarnation in the state and
// timeout the session-timeout there.
func (a *agent) start(newest fsm.Incarnation, timeout time.Duration) {
	a.mu.Lock()
	a.newest, a.timeout = newest, timeout
	a.register()
	a.mu.Unlock()
	go a.run()
}

// register makes a registration due. The caller holds mu and wakes the link.
func (a *agent) register() {
	r := &a.reg
	r.replaces, r.due = a.newest, true
	if _, err := io.ReadFull(a.rand, r.nonce[:]); err != nil {
		a.fatal(errors.Join(errors.New("no random bytes for a registration"), err))
		return
	}
	// A fresh buffer: the link may still be reading the old one.
	r.item = fsm.AppendRegister(nil, &fsm.Register{Node: a.node, Replaces: r.replaces, Nonce: r.nonce, Disk: a.disk, Announce: a.announce})
	a.phase = phaseRegistering
}

// propose queues ops. They stay the caller's and unchanged until they are
// answered or their incarnation has ended.
func (a *agent) propose(ops []*fsm.Op) {
	if len(ops) == 0 {
		return
	}
	now := a.clock.Now()
	a.mu.Lock()
	switch {
	case a.phase != phaseServing || ops[0].Conn.Incarnation() != a.inc:
		// The incarnation has ended: the host has closed these connections.
		a.mu.Unlock()
		return
	case a.closing:
		a.refused = append(a.refused, ops...)
		a.mu.Unlock()
		a.awaken()
		return
	}
	a.queue.push(ops, now)
	late := a.sleepsBeyond(now.Add(a.requestTimeout))
	a.mu.Unlock()
	if late {
		a.awaken()
	}
	a.wake()
}

// ready reports whether draw would bring something.
func (a *agent) ready() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch a.phase {
	case phaseRegistering:
		return a.reg.due
	case phaseServing:
		if a.ka.ready || len(a.queue.ops) > 0 && (len(a.sent) < maxBatches || canary.ManyInFlight) {
			return true
		}
		for _, b := range a.sent {
			if b.due {
				return true
			}
		}
		return false
	case phaseIdle, phaseEnding, phaseClosed:
	}
	return false
}

// draw puts into r what is to be sent now: a registration; or a keepalive,
// batches that are to be sent again, and a new batch of what is queued. What it
// puts there is valid until the next call from the same link.
func (a *agent) draw(r *round) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now()
	switch a.phase {
	case phaseRegistering:
		if a.reg.due {
			a.reg.due, a.reg.sent = false, now
			a.counts.registrations++
			r.add(a.reg.item)
		}
	case phaseServing:
		a.drawServing(r, now)
	case phaseIdle, phaseEnding, phaseClosed:
		return
	}
	if a.sleepsBeyond(now.Add(overdueAfter)) {
		a.awaken()
	}
}

func (a *agent) drawServing(r *round, now time.Time) {
	boot := a.clock.Boot()
	if until := a.vouch.fresh.Load(); until != 0 && int64(boot) >= until {
		a.awaken() // too late: run ends the incarnation
		return
	}
	if a.ka.ready {
		a.counts.keepalives++
		r.keepalives = append(r.keepalives, a.ka.send(a.inc, boot))
		if canary.KeepaliveUnapplied { // it counts whether or not anybody applies it
			a.vouch.count(boot, a.timeout)
		}
	}
	for _, b := range a.sent {
		if b.due && r.room() {
			b.due, b.sent = false, now
			a.counts.resent++
			b.give(r)
		}
	}
	if len(a.queue.ops) == 0 || len(a.sent) == maxBatches && !canary.ManyInFlight || !r.room() { // canary: nothing bounds what is sent again
		return
	}
	b := a.take(r)
	a.number++
	n := a.queue.fit(a.batchBytes)
	b.seal(a.inc, a.number, &a.queue, n)
	b.due, b.first, b.sent = false, boot, now
	a.sent = append(a.sent, b)
	a.counts.batches++
	a.counts.ops += uint64(n)
	b.give(r)
}

// take returns an empty batch for a link, a used one where there is one that no
// other link may still be reading.
func (a *agent) take(r *round) *batch {
	if n := len(a.spare); n > 0 {
		b := a.spare[n-1]
		a.spare = a.spare[:n-1]
		if b.lent == nil || b.lent == r {
			b.lent = nil
			return b
		}
	}
	return &batch{}
}

// failed takes in that something drawn was not proposed, or that its outcome is
// unknown. Either way everything that is not applied is sent again.
func (a *agent) failed(err *ProposeError) {
	a.mu.Lock()
	if a.retryAt.IsZero() && !canary.FailedForgotten { // canary: a failed answer changes nothing
		a.retryAt = a.clock.Now().Add(retryAfter)
	}
	a.mu.Unlock()
	if err.Outcome != Shutdown {
		a.log.Debug("an entry was not confirmed; its batches are sent again", "error", err)
	}
	a.awaken()
}

// resend makes everything that was sent and is not applied due again: after a
// failed or overdue answer and after each change of term.
func (a *agent) resend() {
	a.mu.Lock()
	a.resendLocked()
	a.mu.Unlock()
	a.wake()
}

func (a *agent) resendLocked() {
	a.retryAt = time.Time{}
	a.reg.due = a.phase == phaseRegistering
	for _, b := range a.sent {
		b.due = true
	}
	if len(a.ka.sent) > 0 {
		a.ka.due = 0 // a lost keepalive is never sent again; the next one goes at once
		a.awaken()
	}
}

// awaken wakes run.
func (a *agent) awaken() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// sleepsBeyond reports whether run would sleep past t. The caller holds mu.
func (a *agent) sleepsBeyond(t time.Time) bool {
	return !a.sleeping.IsZero() && a.sleeping.After(t)
}

// within returns nil while the clock has not passed one of vouch's limits. late
// is what it is else; that also makes run look at it.
func (a *agent) within(limit *atomic.Int64, late error) error {
	switch until := limit.Load(); {
	case until == 0:
		return nil
	case until == never:
		return ErrNotServing
	case int64(a.clock.Boot()) < until:
		return nil
	}
	a.awaken()
	return late
}
