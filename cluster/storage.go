package cluster

import (
	"io"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/store"
)

// Storage is what a node needs of its disk; *store.Store is one.
type Storage interface {
	// Log is Raft's log. It must copy what it is given: entry buffers are used again.
	Log() raft.LogStore
	Stable() raft.StableStore
	Snapshots() raft.SnapshotStore
	// Apply writes state records, unsynced, with the index and term of the entry
	// that they are the state of.
	Apply(index, term uint64, writes []store.Write) error
	// Applied returns the index and term of the state.
	Applied() (index, term uint64)
	// State yields all state records.
	State(yield func(store.Write) bool) error
	// PersistState is what FSM.Snapshot returns: the state on disk is the snapshot.
	PersistState() raft.FSMSnapshot
	// Received returns which snapshot Raft has put down for Restore.
	Received() (index, term uint64, ok bool)
	// Restore replaces the state by a snapshot's; store.ErrRestartRaft comes
	// after a restore that has succeeded.
	Restore(r io.Reader, index, term uint64) error
	// OpenBackup takes a backup of the state as it is on disk.
	OpenBackup(info store.BackupInfo) (*store.Backup, error)
	// Configuration returns the configuration that is kept with the state.
	Configuration() (conf raft.Configuration, index uint64)
	// SetConfiguration keeps the newest committed configuration with the state.
	SetConfiguration(index uint64, conf raft.Configuration)
	// DiskFree returns the free and total bytes of the file system.
	DiskFree() (free, total uint64, err error)
}

var _ Storage = (*store.Store)(nil)

// Host is the side of the node that holds the client connections
// (sessions.Table). Its methods may call Node.Propose, Fresh and Half.
//
// Deliver and Begin come from the apply goroutine, one at a time. The others
// may come from another goroutine at the same moment; what arrives for an
// incarnation that has ended, or for a request already answered, is ignored.
type Host interface {
	// Begin: the incarnation is applied by our own loop; serve. Never before End
	// of the one before has returned.
	Begin(inc fsm.Incarnation)
	// End: close every client connection of the incarnation and answer nothing
	// more. Ops proposed for it are no longer referenced.
	End(inc fsm.Incarnation, reason error)
	// Deliver hands over what one entry brought about, after its state write was
	// queued. Not called for entries that were applied before.
	Deliver(eff *fsm.Effects)
	// Down: request-timeout passed while these ops were queued. They were taken
	// out, each together with every later queued op of its connection, so that the
	// connection's sequence can go on from the first of them.
	Down(ops []*fsm.Op, err error)
	// Uncertain: request-timeout passed since these ops were proposed; they were
	// sent and are not applied yet. Answer UNCERTAIN and close.
	Uncertain(ops []fsm.Address, err error)
	// Fast hands over replies that the leader sent ahead of our own loop: they fill
	// open slots, in order, and change nothing else. Deliver brings them again.
	Fast(replies []fsm.Reply)
	// Installed: the state was taken over from another node; look tells where a
	// connection stands in it. Waits that are still there go on; who has lost an
	// answer, or its session, is answered UNCERTAIN and closed.
	Installed(look func(fsm.ConnID) fsm.Standing)
	// Contacts returns the HEARTBEAT sessions spoken for since the last call.
	Contacts() []fsm.SessionID
}

// machine is what the applier needs of *fsm.Machine.
type machine interface {
	Apply(e *fsm.Entry) *fsm.Effects
	Defer()
	Flush() *fsm.Effects
	Unflushed() int
	Load(records func(yield func(fsm.Record) bool)) error
	Applied() (index, term uint64)
	Now() int64
	NextDeadline() (ms int64, ok bool)
	HashMark() (index, hash uint64)
	Settings() fsm.Settings
	Setting(name string) (value string, ok bool)
	NewestIncarnation(node string) fsm.Incarnation
	Node(name string) (fsm.NodeInfo, bool)
	Nodes() []fsm.NodeInfo
	Conn(id fsm.ConnID) (fsm.ConnInfo, bool)
}

var _ machine = (*fsm.Machine)(nil)
