package cluster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/internal/canary"
	"github.com/redlockd/redlockd/store"
)

// applier is Raft's state machine: it decodes an entry, applies it to the lock
// machine, queues the state records that changed, and hands the effects to the
// agent and the host. All its methods but view and keepAll run on Raft's FSM
// goroutine. The state is written in the log's wake (flush bounds), not with each entry.
//
// It is no raft.BatchingFSM: batches are inside the entries already.
type applier struct {
	storage  Storage
	host     Host
	agent    *agent
	proposer *proposer
	log      *slog.Logger
	fatal    func(error)
	// grew is told of each entry's bytes, for snapshots by size.
	grew func(bytes int)

	// turn is held by who applies, restores or writes the state: Raft's FSM
	// goroutine, and a backup in between.
	turn sync.Mutex
	// viewMu is held while the machine changes and while somebody looks at it.
	viewMu  sync.Mutex
	machine machine

	// What the state on disk lacks: it is written when one of these grows large
	// (flush bounds), so that a lock that comes and goes is never written at all.
	// After a crash Raft's log brings it again.
	lateBytes, lateEntries int
	lateSince              time.Time // of the first entry; zero: nothing is late

	entry  fsm.Entry     // reused
	writes []store.Write // reused

	// dead is set when an entry could not be applied: nothing after it may be.
	dead atomic.Bool
	// index, term and now are the machine's after the newest entry.
	index, term atomic.Uint64
	now         atomic.Int64
	// voters is how many nodes vote by the newest committed configuration.
	voters atomic.Int32

	// remotes are the nodes that forward to this one. configured is told of each
	// committed configuration, removed that the cluster has said this node is not
	// one of its own any more.
	remotes    remotes
	configured func(servers []raft.Server)
	mark       hashMark // the newest one told to the agent
}

var (
	_ raft.FSM                = (*applier)(nil)
	_ raft.ConfigurationStore = (*applier)(nil)
)

// load fills the machine from the state on disk; before Raft starts.
func (a *applier) load() error {
	a.machine.Defer()
	a.lateBytes, a.lateEntries, a.lateSince = 0, 0, time.Time{}
	var err error
	lerr := a.machine.Load(func(yield func(fsm.Record) bool) {
		err = a.storage.State(func(w store.Write) bool { return yield(fsm.Record{Key: w.Key, Value: w.Value}) })
	})
	if err = errors.Join(err, lerr); err != nil {
		return fmt.Errorf("cluster: loading the state: %w", err)
	}
	mi, mt := a.machine.Applied()
	if si, _ := a.storage.Applied(); mi > si {
		return fmt.Errorf("cluster: the state's records are of entry %d, but the store says that it applied no more than entry %d: the data directory is damaged", mi, si)
	}
	a.note(mi, mt)
	return nil
}

// note publishes where the machine is.
func (a *applier) note(index, term uint64) {
	a.index.Store(index)
	a.term.Store(term)
	a.now.Store(a.machine.Now())
	deadline := int64(-1)
	if ms, ok := a.machine.NextDeadline(); ok {
		deadline = ms
	}
	a.proposer.expect(deadline)
}

// Apply applies one committed entry. It never panics into Raft: the deferred
// answer there would report success.
func (a *applier) Apply(l *raft.Log) any {
	if a.dead.Load() {
		return nil
	}
	a.turn.Lock()
	defer a.turn.Unlock()
	defer func() {
		if v := recover(); v != nil {
			a.die(fmt.Errorf("cluster: applying entry %d panicked: %v\n%s", l.Index, v, debug.Stack()))
		}
	}()
	a.proposer.committed(l.Data)
	e := &a.entry
	if err := fsm.DecodeEntry(l.Data, e); err != nil {
		a.die(fmt.Errorf("cluster: entry %d of term %d can not be read: %w", l.Index, l.Term, err))
		return nil
	}
	e.Index, e.Term = l.Index, l.Term
	if !timely(l) {
		e.Time = 0 // time stands still
	}
	a.lateBytes += len(l.Data)
	a.apply(e)
	a.grew(len(l.Data))
	return nil
}

// apply takes the entry through machine, store, agent and host.
func (a *applier) apply(e *fsm.Entry) {
	if e.Index <= a.index.Load() {
		return // it is in the state that was loaded
	}
	eff, timeout := a.change(e)
	if eff.Flushed && !a.keep(e.Index, e.Term, eff.Writes) {
		return
	}
	a.note(e.Index, e.Term)
	if a.proposer.leads.Load() {
		a.remotes.answer(eff, min(timeout, eff.Timeout), a.left)
		if len(eff.Ended)+len(eff.Sessions) > 0 {
			a.tell(e, eff)
		}
	}
	if eff.Flushed {
		a.compare()
	}
	if len(eff.Diverged) > 0 && !canary.DivergedServes { // canary: a node whose state is wrong goes on
		a.log.Error("the state of a node differs from that of the majority", "incarnations", eff.Diverged, "index", e.Index)
		// It may see that itself, or may not: its machine is not to be trusted.
		a.remotes.diverged(eff.Diverged)
		if a.agent.diverged(eff.Diverged) {
			a.die(ErrDiverged)
			return
		}
	}
	a.agent.before(eff, time.Duration(timeout)*time.Millisecond)
	a.host.Deliver(eff)
	a.agent.after(eff)
}

// left is how long a node's incarnation lives, in ms, if nothing more is heard of it.
// One without connections has nothing to lose.
func (a *applier) left(node string) int64 {
	x, _ := a.machine.Node(node)
	if x.Connections == 0 {
		return a.machine.Settings().SessionTimeout
	}
	return x.Left
}

// change takes the entry through the machine, whose lock it leaves also in a panic:
// those who look at the machine must not hang while the process ends.
func (a *applier) change(e *fsm.Entry) (eff *fsm.Effects, timeout int64) {
	a.viewMu.Lock()
	defer a.viewMu.Unlock()
	eff = a.machine.Apply(e)
	a.lateEntries++
	if !eff.Flushed && a.flushDue() {
		a.machine.Flush()
	}
	return eff, a.machine.Settings().SessionTimeout
}

// compare hands the agent a new state hash, where there is anybody to compare
// with. The hash moves at an entry that is flushed.
func (a *applier) compare() {
	var m hashMark
	m.index, m.hash = a.machine.HashMark()
	if m != a.mark {
		if a.mark = m; a.voters.Load() > 1 && m.index != 0 {
			a.agent.marked(m)
		}
	}
}

// Bounds of what the state on disk may lack.
const (
	flushBytes   = 1 << 20
	flushEntries = 512
	flushObjects = 8192
	flushAge     = 100 * time.Millisecond
)

// flushDue reports whether the state on disk lacks enough to be written.
func (a *applier) flushDue() bool {
	now := a.proposer.clock.Now()
	if a.lateSince.IsZero() {
		a.lateSince = now
	}
	return a.lateBytes >= flushBytes || a.lateEntries >= flushEntries || a.machine.Unflushed() >= flushObjects ||
		now.Sub(a.lateSince) >= flushAge
}

// keep writes state records; false: it could not, and nothing goes on.
func (a *applier) keep(index, term uint64, writes []fsm.Record) bool {
	a.lateBytes, a.lateEntries, a.lateSince = 0, 0, time.Time{}
	a.writes = a.writes[:0]
	for _, w := range writes {
		a.writes = append(a.writes, store.Write(w))
	}
	if err := a.storage.Apply(index, term, a.writes); err != nil {
		a.die(fmt.Errorf("cluster: writing the state of entry %d: %w", index, err))
		return false
	}
	return true
}

// keepAll writes what the state on disk lacks; nothing, where the process is about
// to end. It waits for the entry that is being applied.
func (a *applier) keepAll() {
	if a.dead.Load() {
		return
	}
	a.turn.Lock()
	defer a.turn.Unlock()
	if a.lateEntries == 0 {
		return
	}
	a.viewMu.Lock()
	eff := a.machine.Flush()
	index, term := a.machine.Applied()
	a.viewMu.Unlock()
	a.keep(index, term, eff.Writes)
}

// die ends the process by way of fatal. Should that return (in a test), nothing
// is applied any more and no snapshot cuts the log, so that a new start finds
// the entry again.
func (a *applier) die(err error) {
	a.dead.Store(true)
	a.log.Error("an entry could not be applied; the process ends", "error", err)
	a.fatal(err)
}

// StoreConfiguration keeps the newest committed configuration with the state.
func (a *applier) StoreConfiguration(index uint64, conf raft.Configuration) {
	a.storage.SetConfiguration(index, conf)
	a.configure(conf.Servers)
}

// configure takes in who the members are.
func (a *applier) configure(servers []raft.Server) {
	a.countVoters(servers)
	if a.configured != nil {
		a.configured(servers)
	}
}

func (a *applier) countVoters(servers []raft.Server) {
	n := int32(0)
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			n++
		}
	}
	a.voters.Store(n)
}

// Snapshot takes nothing along: the state in the store is the snapshot, and
// closing the sink makes it durable.
func (a *applier) Snapshot() (raft.FSMSnapshot, error) {
	if a.dead.Load() {
		return nil, errors.New("cluster: no snapshot: an entry could not be applied")
	}
	a.keepAll()
	return a.storage.PersistState(), nil
}

// Restore replaces the state by a snapshot that came from another node or from a
// backup. Replies may lie in what it skips: agent and host compare.
func (a *applier) Restore(r io.ReadCloser) error {
	index, term, ok := a.storage.Received()
	if !ok {
		return errors.New("cluster: a snapshot is to be restored, but none was received")
	}
	a.turn.Lock()
	defer a.turn.Unlock()
	// The store knows only what was written, and would go back to it: a snapshot that
	// comes late, a second time, must not undo what was applied since. Its sender has
	// long gone on.
	if now := a.index.Load(); index < now {
		return fmt.Errorf("cluster: the snapshot is of entry %d, and entry %d is applied: %w", index, now, store.ErrOldSnapshot)
	}
	if index == a.index.Load() && a.changeBehind(index) {
		return fmt.Errorf("cluster: the snapshot is of entry %d, which is applied, and the members change behind it: %w", index, store.ErrOldSnapshot)
	}
	err := a.storage.Restore(r, index, term)
	if errors.Is(err, store.ErrRestartRaft) {
		a.die(fmt.Errorf("cluster: the snapshot at entry %d is restored, and Raft has to start anew with it: %w", index, err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("cluster: restoring the snapshot at entry %d: %w", index, err)
	}
	a.viewMu.Lock()
	err = a.load()
	timeout := a.machine.Settings().SessionTimeout
	me, _ := a.machine.Node(a.agent.node)
	a.viewMu.Unlock()
	if err != nil {
		a.die(err)
		return err
	}
	// The entry that made a member may lie in what was skipped: Raft tells of those
	// that are applied only.
	conf, _ := a.storage.Configuration()
	a.configure(conf.Servers)
	a.proposer.restart(a.now.Load())
	a.mark.index, a.mark.hash = a.machine.HashMark()
	a.agent.installed(me, time.Duration(timeout)*time.Millisecond, a.machine.Conn)
	return nil
}

// changeBehind reports whether the log goes on behind an applied entry with a change
// of the members. Raft takes the members of a snapshot for the newest ones: those of
// one that comes late, a second time, would be older than what this node has agreed to.
// The log may begin there: the applied entry itself came with the first copy.
func (a *applier) changeBehind(index uint64) bool {
	log := a.storage.Log()
	last, err := log.LastIndex()
	for i := index + 1; err == nil && i <= last; i++ {
		var l raft.Log
		if err = log.GetLog(i, &l); err == nil && l.Type == raft.LogConfiguration {
			return true
		}
	}
	return false
}

// view calls f with the machine standing still.
func (a *applier) view(f func()) {
	a.viewMu.Lock()
	defer a.viewMu.Unlock()
	f()
}
