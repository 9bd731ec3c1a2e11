package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/internal/canary"
)

// barrierLimit is how long a barrier may take before it is given up and tried again.
const barrierLimit = 10 * time.Second

// leadership watches whether this node leads and opens the proposer once per
// term, after a barrier of that term. It goes by Raft's state and term; LeaderCh
// drops flaps and only wakes it.
type leadership struct {
	raft     consensus
	clock    Clock
	log      *slog.Logger
	proposer *proposer
	// resend makes the agent send again what is not applied: a new term may have
	// lost it, also when the same node leads again.
	resend func()
	// now returns the machine's cluster time in ms.
	now func() int64
	// stuckAfter is how long a leader may be refused by its own Raft.
	stuckAfter time.Duration
	fatal      func(error)

	// handing reports whether the leadership was given away on purpose.
	handing func() bool

	// left is called when this node leads no more; tidy each time it is looked whether it does.
	left func()
	tidy func()

	kick chan struct{} // capacity 1: look now
	quit chan struct{}
	done chan struct{}
	seen uint64 // the newest term seen
	// barriers are those that Raft has not answered.
	barriers sync.WaitGroup

	term    uint64    // of the office that the proposer is open for; 0: none
	refused time.Time // since when barriers are refused because of a transfer
}

func (l *leadership) run() {
	defer close(l.done)
	l.seen = l.raft.CurrentTerm()
	ticker := time.NewTicker(samplePeriod)
	defer ticker.Stop()
	for {
		l.look()
		select {
		case <-l.raft.LeaderCh():
		case <-l.kick:
		case <-ticker.C:
		case <-l.quit:
			l.leave()
			return
		}
	}
}

// look compares what Raft says with the office held.
func (l *leadership) look() {
	term, leads := l.raft.CurrentTerm(), l.raft.State() == raft.Leader
	if term != l.seen {
		// Whoever led may have lost what was sent to it.
		l.seen = term
		if !canary.TermForgotten { // canary: what a deposed leader lost stays lost
			l.resend()
		}
	}
	if l.term != 0 && (!leads || term != l.term) {
		l.leave()
	}
	switch {
	case !leads:
		l.refused = time.Time{}
	case l.term == 0:
		l.take(term)
	default:
		l.probe(l.proposer.refusedSince())
		l.tidy()
	}
}

// take takes office: everything of earlier terms is applied before anything is judged.
func (l *leadership) take(term uint64) {
	var err error
	if !canary.NoBarrier { // canary: the clock starts before the entries of earlier terms are applied
		err = l.barrier()
	}
	switch {
	case err == nil:
		l.refused = time.Time{}
		if l.raft.State() != raft.Leader || l.raft.CurrentTerm() != term {
			return
		}
		l.term = term
		l.log.Info("this node leads the cluster", "term", term)
		l.proposer.start(l.now(), term)
		if !canary.TermForgotten {
			l.resend()
		}
	case errors.Is(err, raft.ErrLeadershipTransferInProgress):
		if l.refused.IsZero() {
			l.refused = l.clock.Now()
		}
		l.watch(l.refused)
	default:
		l.log.Debug("the barrier of a new term failed; trying again", "term", term, "error", err)
	}
}

// barrier waits until everything committed before is applied. Raft may never
// answer; then this gives up.
func (l *leadership) barrier() error {
	answer := make(chan error, 1)
	l.barriers.Go(func() { answer <- l.raft.Barrier(enqueueTimeout).Error() })
	limit := time.NewTimer(barrierLimit)
	defer limit.Stop()
	select {
	case err := <-answer:
		if err == nil {
			return nil
		}
		return meaning(err)
	case <-limit.C:
		return meaning(errLate)
	case <-l.quit:
		return meaning(raft.ErrRaftShutdown)
	}
}

// probe looks, when entries were refused a while ago, whether they still are:
// nothing may have been proposed since.
func (l *leadership) probe(since time.Time) {
	if since.IsZero() || l.clock.Now().Sub(since) <= l.stuckAfter {
		return
	}
	if err := l.barrier(); errors.Is(err, raft.ErrLeadershipTransferInProgress) {
		l.watch(since)
		return
	}
	l.proposer.accepted()
}

// watch ends the process of a leader that its own Raft has refused for too long:
// the flag of a leadership transfer can stay set for good (hashicorp/raft #696),
// and only a new start clears it.
func (l *leadership) watch(since time.Time) {
	if since.IsZero() {
		return
	}
	if d := l.clock.Now().Sub(since); d > l.stuckAfter && l.raft.State() == raft.Leader {
		l.fatal(fmt.Errorf("cluster: this node leads, but its Raft has refused every entry for %v because of a leadership transfer that never ends: the process must start again", d.Round(time.Millisecond)))
	}
}

// settle waits, after run has ended, until Raft has answered the barriers: once it
// is shut down it never does.
func (l *leadership) settle(ctx context.Context) {
	answered := make(chan struct{})
	go func() {
		l.barriers.Wait()
		close(answered)
	}()
	select {
	case <-answered:
	case <-ctx.Done():
	}
}

func (l *leadership) leave() {
	if l.term == 0 {
		return
	}
	select {
	case <-l.quit: // it stops; who asked for it knows
	default:
		l.log.Info("this node leads no more", "term", l.term, "why", l.why())
	}
	l.term = 0
	l.proposer.stop()
	l.left()
}

// why says, after the office was left, how that came.
func (l *leadership) why() string {
	now := l.raft.CurrentTerm()
	switch {
	case l.handing():
		return "it handed over"
	case now > l.term:
		return fmt.Sprintf("another node was elected, or stands for election, in term %d", now)
	}
	return "it lost contact with the majority"
}
