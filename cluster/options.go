package cluster

import (
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/cluster/peer"
)

// Defaults of Options.
const (
	DefaultRequestTimeout  = 5 * time.Second
	DefaultElectionTimeout = 500 * time.Millisecond
	DefaultCommitTimeout   = 4 * time.Millisecond
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
	// PeerAddr is where other nodes reach this one; default the address in
	// InitialCluster, else that of Peer.Listener, else NodeID.
	PeerAddr string
	Storage  Storage
	Host     Host
	Logger   *slog.Logger
	Clock    Clock
	// Rand gives the random bytes of ids and registrations; default crypto/rand.
	Rand io.Reader
	// Peer is the way to the other nodes; nil: there are none, for good. NodeID,
	// Advertise (PeerAddr), Hello, Check and Refused are filled in here.
	Peer *peer.Options
	// InitialCluster are the voters of a new cluster, id to address, this node
	// among them; the same on each of them. It counts on an empty data directory
	// only; on another it may stay as it was, name the members of now, or be empty.
	// Empty on an empty data directory: a cluster of one.
	InitialCluster map[string]string
	// Join are addresses of members that take this node into their cluster, on an
	// empty data directory. Await: it waits there for another node's Meet instead.
	Join  []string
	Await bool
	// Announce is what the other nodes should know of this one, such as where
	// clients reach it; only Members gives it back.
	Announce string
	// RequestTimeout is how long a request may go without being applied.
	RequestTimeout time.Duration
	// ElectionTimeout is how long a follower waits for its leader, at least 20 ms.
	ElectionTimeout time.Duration
	// CommitTimeout is after how long a follower learns of a commit at the latest
	// when nothing else is sent: what a hand-off to a client of a follower may have
	// to wait for. Default 4 ms, without peers 20 ms.
	CommitTimeout time.Duration
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
	if err := o.checkPeers(); err != nil {
		return o, err
	}
	if o.PeerAddr == "" && o.Peer != nil && o.Peer.Listener != nil {
		o.PeerAddr = o.Peer.Listener.Addr().String()
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
	if o.Peer == nil {
		setDefault(&o.CommitTimeout, aloneCommitTimeout)
	}
	setDefault(&o.CommitTimeout, DefaultCommitTimeout)
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
