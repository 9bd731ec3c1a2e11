package cluster

import (
	"errors"
	"sync"

	"github.com/hashicorp/raft"
)

// closableLog is the log store as Raft gets it. Raft has a goroutine that reads
// the oldest entry for a gauge and that Shutdown does not wait for: once shut,
// reads answer an error and no longer reach a store that may be closed.
type closableLog struct {
	raft.LogStore
	mu   sync.RWMutex
	shut bool
}

var (
	_ raft.MonotonicLogStore = (*closableLog)(nil)

	errLogShut = errors.New("cluster: the log is closed")
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

// GetLog reads an entry.
func (l *closableLog) GetLog(index uint64, log *raft.Log) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.shut {
		return errLogShut
	}
	return l.LogStore.GetLog(index, log)
}

// IsMonotonic says what the store says.
func (l *closableLog) IsMonotonic() bool {
	m, ok := l.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}
