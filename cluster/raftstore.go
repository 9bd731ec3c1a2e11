package cluster

import (
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// closableLog is the log store as Raft gets it: it lets nothing be taken back that was
// committed, whatever Raft thinks, and it can be closed. Raft has a goroutine that reads
// the oldest entry for a gauge and that Shutdown does not wait for: once shut,
// reads answer an error and no longer reach a store that may be closed.
type closableLog struct {
	raft.LogStore
	committed func() uint64               // up to where
	applied   func() (index, term uint64) // where the state on disk is
	follows   func() bool                 // Raft runs, and this node does not lead
	fatal     func(error)

	mu   sync.RWMutex
	shut bool
}

var (
	_ raft.MonotonicLogStore = (*closableLog)(nil)

	errLogShut   = errors.New("cluster: the log is closed")
	errTakenBack = errors.New("cluster: the leader has other entries where this node's are committed, so that the states of the two differ: please report this; remove this node from the cluster, delete its data directory, and let it join anew")
)

// close waits for reads under way and refuses later ones.
func (l *closableLog) close() {
	l.mu.Lock()
	l.shut = true
	l.mu.Unlock()
}

// FirstIndex returns the index of the first entry, 0 for none.
func (l *closableLog) FirstIndex() (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.shut {
		return 0, errLogShut
	}
	return l.LogStore.FirstIndex()
}

// GetLog reads an entry. Of the one that the state on disk is of, a follower gets index
// and term also where the log begins behind it, as after a snapshot: Raft 1.8 asks for
// them here when a leader names that entry as the one before, and refuses what follows
// if it does not get them. A leader gets only what is there, for it would send it; one
// that was a leader when it began to read sends nothing more (transport.vouch).
func (l *closableLog) GetLog(index uint64, log *raft.Log) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.shut {
		return errLogShut
	}
	err := l.LogStore.GetLog(index, log)
	if err == raft.ErrLogNotFound && l.follows() { //nolint:errorlint // as Raft compares it: no other error is that
		if at, term := l.applied(); at == index && at > 0 {
			*log = raft.Log{Index: index, Term: term}
			return nil
		}
	}
	return err //nolint:wrapcheck // Raft compares it
}

// DeleteRange deletes entries: from the start, what a snapshot has, or from the end,
// where a leader has other ones. The end is never committed; a node of which Raft
// takes it for that has applied what the others have not, and must not go on. All
// entries can be the one or the other; the state has what a snapshot has.
func (l *closableLog) DeleteRange(low, high uint64) error {
	first, ferr := l.LogStore.FirstIndex()
	last, lerr := l.LastIndex()
	applied, _ := l.applied()
	end := (low > first || high > applied) && low <= last && high >= last
	if errors.Join(ferr, lerr) == nil && end && low <= l.committed() {
		err := fmt.Errorf("%w: entries %d to %d, and all up to %d is committed", errTakenBack, low, high, l.committed())
		l.fatal(err)
		return err
	}
	return l.LogStore.DeleteRange(low, high) //nolint:wrapcheck // the store's own errors
}

// IsMonotonic says what the store says.
func (l *closableLog) IsMonotonic() bool {
	m, ok := l.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}
