package cluster

import (
	"log/slog"
	"sync/atomic"

	"github.com/redlockd/redlockd/cluster/peer"
	"github.com/redlockd/redlockd/fsm"
)

// The types of frames between nodes. Append, never renumber.
const (
	// frameForward goes to the leader: keepalives and items, as an entry without
	// a time (fsm.AppendEntry).
	frameForward = 1 + iota
	// frameFast comes from the leader: session-timeout and how long the node's
	// incarnation has left, in ms (uvarint), and replies, one behind the other
	// (fsm.AppendReply).
	frameFast
	// frameFailed comes from who was taken for the leader: an Outcome in one byte,
	// and a sentence. What was forwarded is not known to be in the log.
	frameFailed
	// frameRemoved comes from the leader: the node is not a member; a sentence.
	frameRemoved
	// frameNews tells where the sender stands (news).
	frameNews
	// frameDiverged comes from the leader: the node's state differs from that of the majority.
	frameDiverged
)

// forwarder is the agent's link to a leader on another node: it draws from the
// agent when the way is open and sends what it got. What became of it, the agent
// learns from its own apply loop.
type forwarder struct {
	agent *agent
	log   *slog.Logger
	// way returns the link to the leader; nil while there is none, or while this
	// node leads itself.
	way func() *peer.Link

	// on is set while the way is open, so that whoever proposes on a leader, or
	// without one, wakes nobody for nothing.
	on     atomic.Bool
	wakeCh chan struct{} // capacity 1
	quit   chan struct{}
	done   chan struct{}

	link  *peer.Link // of the last frame; run's alone
	round round
	buf   []byte
	sent  atomic.Uint64 // frames
}

func newForwarder(a *agent, log *slog.Logger, limit int, way func() *peer.Link) *forwarder {
	return &forwarder{
		agent: a, log: log, way: way,
		wakeCh: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		round: round{limit: limit, copies: true},
	}
}

// wake tells that there is something to draw; it never blocks.
func (f *forwarder) wake() {
	if f.on.Load() {
		f.look()
	}
}

// look makes run look for a way, and for something to send on it.
func (f *forwarder) look() {
	select {
	case f.wakeCh <- struct{}{}:
	default:
	}
}

func (f *forwarder) run() {
	defer close(f.done)
	for {
		f.forward()
		select {
		case <-f.wakeCh:
		case <-f.quit:
			return
		}
	}
}

// forward sends all that there is to send.
func (f *forwarder) forward() {
	link := f.way()
	f.on.Store(link != nil)
	if link == nil {
		return
	}
	if link != f.link {
		// What went another way may be lost.
		f.link = link
		f.agent.resend()
	}
	for f.agent.ready() {
		f.round.reset()
		f.agent.draw(&f.round)
		if f.round.empty() {
			return
		}
		f.buf = fsm.AppendEntry(f.buf[:0], 0, f.round.keepalives, f.round.buf)
		if err := link.Send(frameForward, f.buf); err != nil {
			f.agent.failed(&ProposeError{Outcome: NotProposed, Sentence: "the leader could not be reached", Err: err})
			return
		}
		f.sent.Add(1)
	}
}

// stop ends run.
func (f *forwarder) stop() {
	close(f.quit)
	<-f.done
}
