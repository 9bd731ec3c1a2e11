package store

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/internal/canary"
)

// logStore is Raft's log. Its lane's lock orders all changes; first and last
// are read without it.
//
// The log has no gaps, and it joins the state: first ≤ applied+1 and
// applied ≤ last, or it is empty. Every change is checked against that before
// it is written, since a store that breaks it would refuse to start.
type logStore struct {
	lane
	first, last atomic.Uint64 // both 0: empty
}

var (
	_ raft.LogStore          = (*logStore)(nil)
	_ raft.MonotonicLogStore = (*logStore)(nil)
)

// IsMonotonic is false: Raft would else empty the log after InstallSnapshot
// and then look for its last entry (hashicorp/raft#697). What true would
// promise is kept here: StoreLogs drops a log that new entries do not join,
// and Restore one that conflicts with the snapshot.
func (l *logStore) IsMonotonic() bool { return false }

// FirstIndex returns the index of the first entry, 0 for an empty log.
func (l *logStore) FirstIndex() (uint64, error) { return l.first.Load(), nil }

// LastIndex returns the index of the last entry, 0 for an empty log.
func (l *logStore) LastIndex() (uint64, error) { return l.last.Load(), nil }

// has says whether the index is in the log.
func (l *logStore) has(index uint64) bool {
	first := l.first.Load()
	return first != 0 && index >= first && index <= l.last.Load()
}

// GetLog reads an entry; its bytes are the caller's. The error is exactly
// raft.ErrLogNotFound where the log does not reach, for Raft compares it with
// == to decide that a follower needs a snapshot. An entry that should be there
// and is not, or is damaged, is fatal.
func (l *logStore) GetLog(index uint64, log *raft.Log) error {
	if !l.has(index) {
		return raft.ErrLogNotFound
	}
	found, err := l.get(index, log)
	if err == nil && !found {
		// The log may have been cut since has: look again while it cannot be.
		l.Lock()
		if !l.has(index) {
			l.Unlock()
			return raft.ErrLogNotFound
		}
		found, err = l.get(index, log)
		l.Unlock()
	}
	if err == nil && !found {
		err = damagedf("log entry %d is missing, the log goes from %d to %d", index, l.first.Load(), l.last.Load())
	}
	if err != nil {
		l.s.fatal(err)
	}
	return nil
}

func (l *logStore) get(index uint64, log *raft.Log) (found bool, err error) {
	var key [logKeyLen]byte
	putLogKey(key[:], index)
	value, closer, err := l.s.db.Get(key[:])
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, l.s.readError(fmt.Sprintf("log entry %d", index), err)
	}
	defer closer.Close()
	return true, decodeEntry(index, value, log)
}

// StoreLog appends one entry.
func (l *logStore) StoreLog(log *raft.Log) error { return l.StoreLogs([]*raft.Log{log}) }

// StoreLogs appends entries and returns when they are on disk. Entries at and
// after the first one go away in the same write, whatever their number: else
// an old tail could survive behind the new entries and be taken for the end of
// the log after a restart. Entries before a gap go away too.
func (l *logStore) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	from, to := logs[0].Index, logs[len(logs)-1].Index
	for i, log := range logs {
		if log.Index == 0 || log.Index != from+uint64(i) {
			return fmt.Errorf("store: entry %d of the %d to append has index %d, not %d", i, len(logs), log.Index, from+uint64(i))
		}
	}
	l.Lock()
	defer l.Unlock()
	first, last := l.first.Load(), l.last.Load()
	b := l.begin()
	switch {
	case last == 0:
		first = from
	case from > last+1 || from < first:
		l.must(b.DeleteRange(logKey(first), logKey(last+1), nil))
		first = from
	case from <= last:
		if !canary.OldTailStays { // canary: a restart takes a dead leader's entries for the log's end
			l.must(b.DeleteRange(logKey(from), logKey(last+1), nil))
		}
	}
	l.mustJoin(first, to)
	for _, log := range logs {
		put := b.SetDeferred(logKeyLen, entrySize(log))
		putLogKey(put.Key, log.Index)
		putEntry(put.Value, log)
		l.must(put.Finish())
	}
	l.commit(!canary.LogUnsynced) // canary: what is acknowledged can be lost
	l.last.Store(to)
	l.first.Store(first)
	return nil
}

// DeleteRange deletes the entries from low to high, both included, where there
// are such, and returns when that is on disk. Only the start or the end of the
// log can be cut off.
func (l *logStore) DeleteRange(low, high uint64) error {
	l.Lock()
	defer l.Unlock()
	first, last := l.first.Load(), l.last.Load()
	if first == 0 || low > high || low > last || high < first {
		return nil
	}
	if low > first && high < last {
		return fmt.Errorf("store: deleting the entries %d to %d would leave a gap in the log from %d to %d", low, high, first, last)
	}
	low, high = max(low, first), min(high, last)
	if applied := l.s.meta.Load().applied.index; low <= applied && high > applied {
		l.s.fatal(fmt.Errorf("store: a change of the log was not made: "+
			"deleting the entries %d to %d would lose those after %d, which are not in the state", low, high, applied))
	}
	b := l.begin()
	l.must(b.DeleteRange(logKey(low), logKey(high+1), nil))
	switch {
	case low == first && high == last:
		first, last = 0, 0
	case low == first:
		first = high + 1
	default:
		last = low - 1
	}
	l.mustJoin(first, last)
	l.commit(true)
	l.first.Store(first)
	l.last.Store(last)
	return nil
}

// mustJoin ends the process rather than write a log that does not join the
// state: an entry that was applied would be gone from both.
func (l *logStore) mustJoin(first, last uint64) {
	if err := joins(first, last, l.s.meta.Load().applied.index); err != nil {
		l.s.fatal(fmt.Errorf("store: a change of the log was not made: %w", err))
	}
}

// joins says whether a log from first to last goes with a state at applied.
func joins(first, last, applied uint64) error {
	switch {
	case first == 0:
		return nil
	case first > applied+1:
		return fmt.Errorf("the log starts at entry %d, and the state ends at entry %d", first, applied)
	case last < applied:
		return fmt.Errorf("the log ends at entry %d, and the state is at entry %d", last, applied)
	}
	return nil
}
