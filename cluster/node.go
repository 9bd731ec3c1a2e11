package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
)

// ExitFatal is the exit code of the default OnFatal: EX_TEMPFAIL, so that a
// supervisor starts the process again.
const ExitFatal = 75

// Defaults of Options.
const (
	DefaultRequestTimeout  = 5 * time.Second
	DefaultElectionTimeout = 500 * time.Millisecond
	DefaultEntryBytes      = raft.SuggestedMaxDataSize
	DefaultInFlight        = 1
	DefaultSmallEntry      = 1 << 10
	DefaultSnapshotBytes   = 64 << 20
	DefaultSnapshotEntries = 1 << 16
	DefaultTrailingLogs    = 1 << 12
)

// Options are what Open needs. Zero values mean the default.
type Options struct {
	// NodeID names this node for good; it must not be empty.
	NodeID string
	// PeerAddr is where other nodes reach this one; default NodeID.
	PeerAddr string
	Storage  Storage
	Host     Host
	Logger   *slog.Logger
	Clock    Clock
	// Rand gives the random bytes of ids and registrations; default crypto/rand.
	Rand io.Reader
	// Transport is the way to the peers; nil is one that reaches nobody, for a cluster of one.
	Transport raft.Transport
	// RequestTimeout is how long a request may go without being applied.
	RequestTimeout time.Duration
	// ElectionTimeout is how long a follower waits for its leader, at least 20 ms.
	ElectionTimeout time.Duration
	// Settings are cluster settings given by flags, by the names and in the text
	// form of fsm; those that differ from the state are proposed at the start.
	Settings map[string]string
	// InFlight is how many entries may be under way at once; more than one only
	// while those ahead have at most SmallEntry bytes. DESIGN.md has the figures.
	InFlight, SmallEntry int
	// EntryBytes is about how big an entry, and a batch, may become.
	EntryBytes int
	// SnapshotBytes of log, or SnapshotEntries, make Raft cut its log, leaving TrailingLogs.
	SnapshotBytes                 int64
	SnapshotEntries, TrailingLogs uint64
	// OnFatal must end the process; the default logs the error and exits with ExitFatal.
	OnFatal func(err error)
}

func (o Options) withDefaults() (Options, error) {
	if o.NodeID == "" || o.Storage == nil || o.Host == nil {
		return o, errors.New("cluster: NodeID, Storage and Host must be given")
	}
	if o.PeerAddr == "" {
		o.PeerAddr = o.NodeID
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = SystemClock{}
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.OnFatal == nil {
		o.OnFatal = func(err error) {
			o.Logger.Error("this process can not go on", "error", err)
			os.Exit(ExitFatal)
		}
	}
	setDefault(&o.RequestTimeout, DefaultRequestTimeout)
	setDefault(&o.ElectionTimeout, DefaultElectionTimeout)
	setDefault(&o.InFlight, DefaultInFlight)
	setDefault(&o.SmallEntry, DefaultSmallEntry)
	setDefault(&o.EntryBytes, DefaultEntryBytes)
	setDefault(&o.SnapshotBytes, DefaultSnapshotBytes)
	setDefault(&o.SnapshotEntries, DefaultSnapshotEntries)
	setDefault(&o.TrailingLogs, DefaultTrailingLogs)
	return o, nil
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Node is one node of the cluster.
type Node struct {
	opts     Options
	log      *slog.Logger
	identity identity
	fsm      *fsm.Machine
	raft     *raft.Raft
	raftLog  *closableLog

	agent      *agent
	proposer   *proposer
	applier    *applier
	leadership *leadership
	snapshots  *snapshotter

	failOnce  sync.Once
	failed    chan struct{} // closed by the first fatal error
	failure   error
	closeOnce sync.Once
	closeErr  error
}

// Open starts a node: it founds a cluster of one on an empty store, loads the
// state, wins the election, and registers. It returns when the host serves and
// the settings given by flags are in force, or with an error when ctx ends or
// something is wrong with the data directory or a setting. The store stays the
// caller's to close, after Close.
func Open(ctx context.Context, o Options) (*Node, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	n := &Node{opts: o, log: o.Logger, fsm: fsm.New(), failed: make(chan struct{})}
	n.wire()
	if err = n.applier.load(); err != nil {
		return nil, err
	}
	if n.identity, err = identify(o.Storage.Stable(), o.NodeID, o.Rand); err != nil {
		return nil, err
	}
	if err := n.startRaft(); err != nil {
		return nil, err
	}
	n.start()
	if err := n.awaitServing(ctx); err != nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		return nil, errors.Join(err, n.Close(closing))
	}
	return n, nil
}

// wire makes the parts and tells them of one another.
func (n *Node) wire() {
	o := &n.opts
	n.proposer = newProposer(o.Clock, n.log, o)
	n.snapshots = newSnapshotter(o.SnapshotBytes, n.log)
	n.agent = newAgent(agentOptions{
		node: o.NodeID, host: o.Host, clock: o.Clock, log: n.log, rand: o.Rand,
		requestTimeout: o.RequestTimeout, batchBytes: o.EntryBytes,
		diskFull: n.diskFull, wake: n.proposer.wake, fatal: n.fatal,
		settings: o.Settings, setting: n.fsm.Setting,
	})
	n.proposer.sources = []source{n.agent}
	n.applier = &applier{
		storage: o.Storage, host: o.Host, agent: n.agent, proposer: n.proposer, log: n.log,
		fatal: n.fatal, grew: n.snapshots.grew, machine: n.fsm,
	}
}

// start starts the goroutines, Raft's run already.
func (n *Node) start() {
	n.proposer.raft = n.raft
	n.leadership = &leadership{
		raft: n.raft, clock: n.opts.Clock, log: n.log, proposer: n.proposer,
		resend: n.agent.resend, now: n.applier.now.Load,
		stuckAfter: 2 * n.opts.ElectionTimeout, fatal: n.fatal,
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	var newest fsm.Incarnation
	var timeout int64
	n.applier.view(func() {
		newest, timeout = n.fsm.NewestIncarnation(n.opts.NodeID), n.fsm.Settings().SessionTimeout
	})
	n.agent.start(newest, time.Duration(timeout)*time.Millisecond)
	go n.proposer.run()
	go n.leadership.run()
	go n.snapshots.run(n.raft)
}

func (n *Node) awaitServing(ctx context.Context) error {
	for _, ready := range []<-chan struct{}{n.agent.served, n.agent.internal.settled} {
		select {
		case <-ready:
		case <-n.failed:
			return n.failure
		case <-ctx.Done():
			return fmt.Errorf("cluster: node %q does not serve yet: no leader, or not enough nodes: %w", n.opts.NodeID, ctx.Err())
		}
	}
	return n.agent.internal.err()
}

// Propose queues ops of this node's connections, in order. It never blocks on
// the cluster. The ops stay the caller's, and unchanged until they are answered
// or Host.End was called for their incarnation; those of an incarnation that is
// not the one that serves are dropped.
func (n *Node) Propose(ops []*fsm.Op) { n.agent.propose(ops) }

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

// Close stops the node in order: it takes no more ops, lets those it has be
// applied until ctx ends, and shuts Raft down. What is left is answered
// CLUSTERDOWN or UNCERTAIN. Holds are not released.
func (n *Node) Close(ctx context.Context) error {
	n.closeOnce.Do(func() { n.closeErr = n.close(ctx) })
	return n.closeErr
}

func (n *Node) close(ctx context.Context) error {
	select {
	case <-n.agent.close():
	case <-n.failed:
	case <-ctx.Done():
		n.log.Warn("the node stops with requests that are not applied", "error", ctx.Err())
	}
	close(n.leadership.quit)
	<-n.leadership.done
	close(n.proposer.quit)
	<-n.proposer.done
	n.proposer.drain(ctx)
	err := n.raft.Shutdown().Error()
	n.applier.keepAll() // so that the next start has nothing to replay
	n.raftLog.close()
	close(n.snapshots.quit)
	<-n.snapshots.done
	n.agent.stop()
	if err != nil {
		return fmt.Errorf("cluster: shutting Raft down: %w", err)
	}
	return nil
}
