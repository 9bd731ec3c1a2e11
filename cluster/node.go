package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
)

// ExitFatal is the exit code of the default OnFatal: EX_TEMPFAIL, so that a
// supervisor starts the process again.
const ExitFatal = 75

// Node is one node of the cluster.
type Node struct {
	opts     Options
	log      *slog.Logger
	identity identity
	fsm      *fsm.Machine
	raft     *raft.Raft
	// running is raft, for those whom Raft may call while it is being made.
	running atomic.Pointer[raft.Raft]
	raftLog *closableLog
	// handing is set while the leadership is given away.
	handing atomic.Bool
	// raftQuiet is set while Raft is shut down: its complaints are no news then.
	raftQuiet atomic.Bool
	port      *port // nil without peers
	errands   *errands
	quit      chan struct{} // closed at the stop
	held      chan struct{} // closed to let go what the transport holds
	sought    chan struct{} // closed when seek has ended; nil without peers
	unseek    context.CancelFunc
	idMu      sync.Mutex    // of identity.cluster
	hopeless  chan struct{} // closed when the stop waits for nothing more
	leaving   sync.Once
	observer  *raft.Observer
	observed  chan raft.Observation
	watched   chan struct{} // closed when watch has ended

	leaderMu    sync.Mutex
	leaderMoved chan struct{} // closed, and made anew, at each change of leader

	agent      *agent
	proposer   *proposer
	applier    *applier
	leadership *leadership
	snapshots  *snapshotter

	failOnce  sync.Once
	failed    chan struct{} // closed by the first fatal error
	failure   error
	closing   atomic.Bool
	closed    chan struct{} // closed when Close is done
	closeErr  error
	transfers transfers
}

// Open starts a node: on an empty store it founds a cluster, of one or together
// with the others of InitialCluster, or joins one; it loads the state and starts
// Raft. An error says that something is wrong with the options or the data
// directory. It does not wait for the other nodes: the host serves once there is a
// leader and this node's registration is applied; Serving waits for that.
// The store stays the caller's to close, after Close.
func Open(o Options) (*Node, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{opts: o, log: o.Logger, fsm: fsm.New(), failed: make(chan struct{}), quit: make(chan struct{}), closed: make(chan struct{}), held: make(chan struct{}), hopeless: make(chan struct{}), leaderMoved: make(chan struct{}), watched: make(chan struct{})}
	if n.identity, err = identify(o.Storage.Stable(), &o); err != nil {
		return nil, err
	}
	n.wire()
	if err = n.applier.load(); err != nil {
		return nil, err
	}
	if o.Peer != nil {
		if n.port, err = newPort(n); err != nil {
			return nil, err
		}
		n.applier.configured = n.port.configure
	}
	if err = n.startRaft(); err != nil {
		if n.port != nil {
			err = errors.Join(err, n.port.discard())
		}
		return nil, err
	}
	n.start()
	if n.port != nil {
		if err := n.servePeers(); err != nil {
			return nil, errors.Join(err, n.Close(context.Background()))
		}
	}
	return n, nil
}

// wire makes the parts and tells them of one another.
func (n *Node) wire() {
	o := &n.opts
	n.proposer = newProposer(o.Clock, n.log, o)
	n.snapshots = newSnapshotter(o, surplus(o.Storage.Log(), o.TrailingLogs), n.log)
	disk := &diskLook{look: n.diskFull, news: func() { n.agent.lookAtDisk() }}
	disk.full.Store(n.diskFull())
	n.agent = newAgent(agentOptions{
		node: o.NodeID, disk: n.identity.disk, announce: o.Announce, host: o.Host, clock: o.Clock, log: n.log, rand: o.Rand,
		requestTimeout: o.RequestTimeout, batchBytes: o.EntryBytes,
		diskFull: disk.ask, wake: n.wakeLinks(), fatal: n.fatal,
		settings: o.Settings, setting: n.fsm.Setting,
	})
	n.errands = &errands{}
	n.proposer.sources = []source{n.agent}
	if o.Peer != nil {
		n.proposer.add(n.errands)
	}
	n.applier = &applier{
		storage: o.Storage, host: o.Host, agent: n.agent, proposer: n.proposer, log: n.log,
		fatal: n.fatal, grew: n.snapshots.grew, machine: n.fsm,
	}
}

// wakeLinks returns what wakes the links to the leader: the local proposer, and
// the way to another node.
func (n *Node) wakeLinks() func() {
	if n.opts.Peer == nil {
		return n.proposer.wake
	}
	return func() {
		n.proposer.wake()
		n.port.fwd.wake()
	}
}

// servePeers lets the other nodes in, and reaches them.
func (n *Node) servePeers() error {
	n.port.start()
	servers, err := n.servers()
	if err != nil {
		return err
	}
	n.port.reach(n.withCommitted(servers), true)
	if err := n.port.serve(); err != nil {
		return err
	}
	n.sought = make(chan struct{})
	var ctx context.Context
	ctx, n.unseek = context.WithCancel(context.Background())
	go n.seek(ctx)
	return nil
}

// committed returns up to where Raft knows that the log is committed.
func (n *Node) committed() uint64 {
	if r := n.running.Load(); r != nil {
		return r.CommitIndex()
	}
	return 0
}

// follows reports whether Raft runs and this node does not lead.
func (n *Node) follows() bool {
	r := n.running.Load()
	return r != nil && r.State() != raft.Leader
}

// leadsIn reports whether this node leads in a term.
func (n *Node) leadsIn(term uint64) bool {
	r := n.running.Load()
	return r != nil && r.State() == raft.Leader && r.CurrentTerm() == term
}

// ClusterID returns the id of the cluster, empty while this node is in none.
func (n *Node) ClusterID() string {
	n.idMu.Lock()
	defer n.idMu.Unlock()
	return n.identity.cluster
}

// diverged ends a node whose state is wrong: nothing is applied or answered any more.
func (n *Node) diverged(err error) {
	n.applier.dead.Store(true)
	n.agent.mu.Lock()
	inc := n.agent.inc
	n.agent.mu.Unlock()
	n.agent.end(inc, err)
	n.applier.die(err)
}

// removed ends a node that is not a member any more: its clients' connections
// first, then the links.
func (n *Node) removed(err error) {
	n.dismissed(err)
	n.farewell()
	n.port.mesh.stop()
	select {
	case <-n.failed:
	default:
		n.log.Error("this node is not a member of the cluster any more", "error", err)
	}
	n.fatal(err)
}

// deposed forgets what only a leader has to do.
func (n *Node) deposed() {
	n.applier.remotes.drop()
	n.errands.drop()
}

// start starts the goroutines, Raft's run already.
func (n *Node) start() {
	n.proposer.raft = n.raft
	n.leadership = &leadership{
		raft: n.raft, clock: n.opts.Clock, log: n.log, proposer: n.proposer,
		resend: n.agent.resend, now: n.applier.now.Load,
		handing:    func() bool { return n.handing.Swap(false) },
		stuckAfter: 3 * n.opts.ElectionTimeout, fatal: n.fatal,
		left: n.deposed, tidy: n.tidy,
		kick: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	n.observed = make(chan raft.Observation, 16)
	n.observer = raft.NewObserver(n.observed, false, func(o *raft.Observation) bool {
		switch o.Data.(type) {
		case raft.LeaderObservation, raft.RaftState:
			return true
		}
		return false
	})
	n.raft.RegisterObserver(n.observer)
	var newest fsm.Incarnation
	var timeout int64
	n.applier.view(func() {
		newest, timeout = n.fsm.NewestIncarnation(n.opts.NodeID), n.fsm.Settings().SessionTimeout
	})
	n.agent.start(newest, time.Duration(timeout)*time.Millisecond)
	go n.proposer.run()
	go n.leadership.run()
	go n.watch()
	go n.snapshots.run(n.raft)
}

// Serving waits until the host serves and the settings given by flags are in
// force. An error says that ctx has ended, that the cluster refused a setting, or
// why this node can go on no more; the node is still to be closed.
func (n *Node) Serving(ctx context.Context) error {
	for _, ready := range []<-chan struct{}{n.agent.served, n.agent.internal.settled} {
		select {
		case <-ready:
		case <-n.failed:
			return n.failure
		case <-ctx.Done():
			err := fmt.Errorf("cluster: node %q does not serve yet: no leader, or not enough nodes: %w", n.opts.NodeID, ctx.Err())
			if n.port != nil {
				err = errors.Join(err, n.port.lastRefusal())
			}
			return err
		}
	}
	return n.agent.internal.err()
}

// Renew ends an incarnation of this node, as one that has no connection number left,
// and registers anew: its clients are closed, and come back to the next one. It does not
// wait for that. An incarnation other than the present one changes nothing.
func (n *Node) Renew(inc fsm.Incarnation, why error) { go n.agent.end(inc, why) }

// Propose queues ops of this node's connections, in order. It never blocks on
// the cluster. The ops stay the caller's, and unchanged until they are answered
// or Host.End was called for their incarnation; those of an incarnation that is
// not the one that serves are dropped.
func (n *Node) Propose(ops []*fsm.Op) {
	if canary.LocalRead { // a leader answers queries from its own state, deposed or not
		localRead(n, ops)
	}
	n.agent.propose(ops)
}

// Fresh returns nil while the cluster surely still counts on this incarnation:
// less than 95 % of session-timeout has passed since the newest counted
// keepalive was sent. To be asked before a reply after any pause. It costs one
// reading of the clock, and nothing while no connection is in the state.
func (n *Node) Fresh() error {
	return n.agent.within(&n.agent.vouch.fresh, ErrSilent)
}

// Half returns nil while less than half of session-timeout has passed since the
// newest counted keepalive was sent: PING may be answered on a connection that
// holds or waits.
func (n *Node) Half() error {
	return n.agent.within(&n.agent.vouch.half, ErrHalf)
}

// View calls f with the machine between two entries. f must be short, must only
// read, and must not keep the machine.
func (n *Node) View(f func(m *fsm.Machine)) {
	n.applier.view(func() { f(n.fsm) })
}

// fatal ends the process by way of Options.OnFatal.
func (n *Node) fatal(err error) {
	n.failOnce.Do(func() {
		n.failure = err
		close(n.failed)
		n.opts.OnFatal(err)
	})
}
