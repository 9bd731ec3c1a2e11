package cluster

import (
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
)

// Status is where a node stands, for INFO, ROLE and logs.
type Status struct {
	NodeID, ClusterID, DiskID string
	// Incarnation is the one that serves; 0: none.
	Incarnation fsm.Incarnation
	// Role is leader, follower, candidate or shutdown.
	Role string
	// LeaderID and LeaderAddr are empty while there is no leader.
	LeaderID, LeaderAddr string
	Term                 uint64
	// Commit is Raft's commit index. Applied is up to where all is applied, Raft's
	// own entries included; AppliedTerm is the machine's. LogFirst and LogLast are the
	// log's, 0 when it is empty.
	Commit, Applied, AppliedTerm, LogFirst, LogLast uint64
	// ClusterTime is the machine's, in ms.
	ClusterTime int64
	// LastContact is how long ago the leader was heard of; 0 on the leader, -1: never.
	LastContact time.Duration
	// Voters is how many nodes vote.
	Voters int
	// Queued ops are in no batch yet; Unapplied batches are sent and not applied here.
	Queued, Unapplied int
	Counters          Counters
}

// Counters are counted since the process started.
type Counters struct {
	// Ops and Batches of this node, batches Resent, Keepalives and Registrations sent.
	Ops, Batches, Resent, Keepalives, Registrations uint64
	// Entries proposed by this node as leader, their Bytes, those that were Ticks
	// for time alone, and those that Raft did not confirm.
	Entries, EntryBytes, Ticks, Unconfirmed uint64
	// Snapshots taken because of the bytes of log written.
	Snapshots uint64
}

// Status returns where the node stands. It never waits for a leader.
func (n *Node) Status() Status {
	s := Status{
		NodeID: n.opts.NodeID, ClusterID: n.ClusterID(), DiskID: n.identity.disk,
		Term: n.raft.CurrentTerm(), Commit: n.raft.CommitIndex(),
		Applied: n.applied(), AppliedTerm: n.applier.term.Load(), ClusterTime: n.applier.now.Load(),
		LastContact: -1,
	}
	switch n.raft.State() {
	case raft.Leader:
		s.Role, s.LastContact = "leader", 0
	case raft.Follower:
		s.Role = "follower"
	case raft.Candidate:
		s.Role = "candidate"
	case raft.Shutdown:
		s.Role = "shutdown"
	}
	if at := n.raft.LastContact(); s.Role != "leader" && !at.IsZero() {
		s.LastContact = n.opts.Clock.Now().Sub(at)
	}
	addr, id := n.raft.LeaderWithID()
	s.LeaderAddr, s.LeaderID = string(addr), string(id)
	if servers, err := n.servers(); err == nil { // Raft's newest: one that was taken back does not count
		s.Voters = votersOf(servers)
	}
	// The log store answers from memory; it has no errors but for "shut".
	s.LogFirst, _ = n.raftLog.FirstIndex()
	s.LogLast, _ = n.raftLog.LastIndex()
	n.agent.status(&s)
	n.proposer.status(&s)
	s.Counters.Snapshots = n.snapshots.taken.Load()
	return s
}

// ownEntries is how many entries of Raft's own in a row applied looks at: they come
// one by one, with elections and changes of membership.
const ownEntries = 16

// applied returns up to where all is applied. The machine sees only what was
// proposed to it: what follows and is Raft's own needs no applying.
func (n *Node) applied() uint64 {
	index, handed := n.applier.index.Load(), n.raft.AppliedIndex()
	for range ownEntries {
		var l raft.Log
		if index >= handed || n.raftLog.GetLog(index+1, &l) != nil || l.Type == raft.LogCommand {
			break
		}
		index++
	}
	return index
}

func (a *agent) status(s *Status) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase == phaseServing {
		s.Incarnation = a.inc
	}
	s.Queued, s.Unapplied = len(a.queue.ops), len(a.sent)
	c := &s.Counters
	c.Ops, c.Batches, c.Resent = a.counts.ops, a.counts.batches, a.counts.resent
	c.Keepalives, c.Registrations = a.counts.keepalives, a.counts.registrations
}

func (p *proposer) status(s *Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &s.Counters
	c.Entries, c.EntryBytes, c.Ticks, c.Unconfirmed = p.counts.entries, p.counts.bytes, p.counts.ticks, p.counts.unconfirmed
}

// Below these free bytes, or this part of the file system if that is less, new
// locks and sessions are refused, so that releases can still be written.
const (
	diskFloor   = 64 << 20
	diskCeiling = 1 << 30
	diskPart    = 20
)

// diskFull reports whether the disk is nearly full.
func (n *Node) diskFull() bool {
	free, total, err := n.opts.Storage.DiskFree()
	if err != nil {
		n.log.Warn("the free disk space can not be read", "error", err)
		return false
	}
	return free < max(diskFloor, min(diskCeiling, total/diskPart))
}
