package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redlockd/redlockd/cluster/peer"
	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// Bounds of what a leader keeps of one node until it can propose it. What is
// dropped comes again: its node sends it again when it is overdue.
const (
	remoteBytes = 4 << 20
	remoteAge   = 2 * time.Second
	fastBytes   = 512 << 10
)

// remote is what another node has forwarded to this one, as a source of the
// proposer. It lives as long as the link on which it came.
type remote struct {
	node  string
	link  *peer.Link
	clock Clock
	log   *slog.Logger
	// inc is the incarnation that the node forwards for.
	inc atomic.Uint64

	entry fsm.Entry // decoding; the link's goroutine
	fast  []byte    // replies of the entry being applied; the apply goroutine

	mu      sync.Mutex
	pending []forwarded
	drawn   []forwarded // may still be read by the proposer, until the next draw
	free    [][]byte
	bytes   int
}

// forwarded is what one frame brought.
type forwarded struct {
	keepalives []fsm.Keepalive
	items      []byte
	at         time.Time
}

// take checks a frame and keeps it for the proposer. A malformed one must never
// reach the log: there it would stop every node.
func (r *remote) take(payload []byte) error {
	if err := fsm.DecodeEntry(payload, &r.entry); err != nil {
		return fmt.Errorf("cluster: node %q forwarded what can not be read: %w", r.node, err)
	}
	items, err := fsm.EntryItems(payload)
	if err != nil {
		return err
	}
	for i := range r.entry.Items {
		switch it := &r.entry.Items[i]; {
		case it.Kind == fsm.ItemBatch:
			r.inc.Store(uint64(it.Batch.Incarnation))
		case it.Kind == fsm.ItemRegister && it.Register.Node == r.node:
		default:
			return fmt.Errorf("cluster: node %q forwarded what is not its own", r.node)
		}
	}
	for _, k := range r.entry.Keepalives {
		r.inc.Store(uint64(k.Incarnation))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.bytes+len(items) > remoteBytes && len(r.pending) > 0 {
		r.dropOldest()
	}
	f := forwarded{keepalives: slices.Clone(r.entry.Keepalives), at: r.clock.Now()}
	if n := len(r.free); n > 0 {
		f.items, r.free = r.free[n-1], r.free[:n-1]
	}
	f.items = append(f.items[:0], items...)
	r.bytes += len(items)
	r.pending = append(r.pending, f)
	return nil
}

// dropOldest forgets the oldest frame. The caller holds mu.
func (r *remote) dropOldest() {
	r.bytes -= len(r.pending[0].items)
	r.recycle(r.pending[0].items)
	r.pending = r.pending[:copy(r.pending, r.pending[1:])]
}

func (r *remote) recycle(b []byte) {
	if len(r.free) < keepBuffers && b != nil && cap(b) <= keepBytes {
		r.free = append(r.free, b)
	}
}

func (r *remote) ready() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending) > 0
}

// draw gives all keepalives, and items as far as there is room. What lay here for
// too long is dropped: a keepalive must not count long after it was sent.
func (r *remote) draw(to *round) {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.drawn {
		r.recycle(f.items)
	}
	clear(r.drawn)
	r.drawn = r.drawn[:0]
	for len(r.pending) > 0 && now.Sub(r.pending[0].at) > remoteAge {
		r.dropOldest()
	}
	n := 0
	for i := range r.pending {
		f := &r.pending[i]
		if canary.KeepaliveQueues && !to.room() { // keepalives wait behind what fills the entry
			break
		}
		to.keepalives = append(to.keepalives, f.keepalives...)
		f.keepalives = nil
		if n < i || len(f.items) > 0 && !to.room() {
			continue // no room for this one or one before it
		}
		if len(f.items) > 0 {
			to.add(f.items)
		}
		r.bytes -= len(f.items)
		r.drawn = append(r.drawn, *f)
		n++
	}
	rest := copy(r.pending, r.pending[n:])
	clear(r.pending[rest:])
	r.pending = r.pending[:rest]
}

// failed tells the node that something of its was perhaps not proposed.
func (r *remote) failed(err *ProposeError) {
	b := append([]byte{byte(err.Outcome)}, err.Sentence...)
	if serr := r.link.Send(frameFailed, b); serr != nil {
		r.log.Debug("a node could not be told of a failed proposal", "node", r.node, "error", serr)
	}
}

// drop forgets what is not proposed and tells the node.
func (r *remote) drop() {
	r.mu.Lock()
	n := len(r.pending)
	for len(r.pending) > 0 {
		r.dropOldest()
	}
	r.mu.Unlock()
	if n > 0 {
		r.failed(&ProposeError{Outcome: NotProposed, Sentence: "this node leads no more", Err: errNotLeader})
	}
}

var errNotLeader = errors.New("not the leader")

// remotes are the nodes that have a link to this one.
type remotes struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*remote]
}

func (s *remotes) all() []*remote {
	if l := s.list.Load(); l != nil {
		return *l
	}
	return nil
}

func (s *remotes) add(r *remote) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := append(slices.Clone(s.all()), r)
	s.list.Store(&l)
}

func (s *remotes) remove(r *remote) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := slices.DeleteFunc(slices.Clone(s.all()), func(x *remote) bool { return x == r })
	s.list.Store(&l)
}

// drop makes all forget what is not proposed.
func (s *remotes) drop() {
	for _, r := range s.all() {
		r.drop()
	}
}

// of returns the remote of an incarnation, the newest link's; nil: none.
func of(all []*remote, inc fsm.Incarnation) *remote {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].inc.Load() == uint64(inc) {
			return all[i]
		}
	}
	return nil
}

// answer sends an entry's replies to the nodes whose connections wait for them,
// ahead of those nodes' own apply loops. Each frame begins with the shortest
// session-timeout of the entry, and how long the node's incarnation has left (ms): their
// own loops may not know of either yet.
// A node that the same entry removes is told nothing: it would take for held what
// is free again, and may never apply the entry that says so.
func (s *remotes) answer(eff *fsm.Effects, timeout int64, left func(node string) int64) {
	all := s.all()
	if len(all) == 0 {
		return
	}
	gather(all, eff, timeout, left)
	for _, r := range all {
		r.sendFast()
	}
}

// gather puts an entry's replies where the nodes' answers are made.
func gather(all []*remote, eff *fsm.Effects, timeout int64, left func(node string) int64) {
	replies := eff.Replies
	var last *remote
	var lastInc fsm.Incarnation
	for i := range replies {
		if inc := replies[i].Conn.Incarnation(); i == 0 || inc != lastInc {
			if last, lastInc = of(all, inc), inc; slices.Contains(eff.Ended, inc) {
				last = nil
			}
		}
		if last == nil {
			continue
		}
		if len(last.fast) == 0 {
			last.fast = binary.AppendUvarint(last.fast, uint64(timeout))
			last.fast = binary.AppendUvarint(last.fast, uint64(left(last.node)))
		}
		last.fast = fsm.AppendReply(last.fast, &replies[i])
		if len(last.fast) > fastBytes {
			last.sendFast()
		}
	}
}

func (r *remote) sendFast() {
	if len(r.fast) == 0 {
		return
	}
	// A link that has ended says so elsewhere; the node has its own loop.
	_ = r.link.Send(frameFast, r.fast)
	if r.fast = r.fast[:0]; cap(r.fast) > keepBytes {
		r.fast = nil
	}
}

// diverged tells nodes that their state is wrong.
func (s *remotes) diverged(incs []fsm.Incarnation) {
	for _, inc := range incs {
		if r := of(s.all(), inc); r != nil {
			_ = r.link.Send(frameDiverged, nil)
		}
	}
}
