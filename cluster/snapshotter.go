package cluster

import (
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// snapshotter asks Raft for a snapshot each limit bytes of applied log: Raft's
// own threshold counts entries, and one entry may hold a thousand ops. It counts
// entries as well, those that the log had at the start among them: Raft counts
// from there, for the state on disk is its newest snapshot, so the log of a node
// that restarts often enough would never be cut.
type snapshotter struct {
	limit, most    int64 // bytes, entries
	log            *slog.Logger
	bytes, entries atomic.Int64
	taken          atomic.Uint64
	ask            chan struct{} // capacity 1
	quit           chan struct{}
	done           chan struct{}
}

// newSnapshotter counts from the entries that a cut of the log would take away now.
func newSnapshotter(o *Options, entries int64, log *slog.Logger) *snapshotter {
	s := &snapshotter{
		limit: o.SnapshotBytes, most: int64(o.SnapshotEntries), log: log,
		ask: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
	}
	s.entries.Store(entries)
	return s
}

// surplus is how many entries a log has beyond those that stay when it is cut.
func surplus(log raft.LogStore, trailing uint64) int64 {
	// The log store answers from memory; it has no errors but for "shut".
	first, _ := log.FirstIndex()
	last, _ := log.LastIndex()
	if first == 0 {
		return 0
	}
	return max(0, int64(last-first+1)-int64(trailing))
}

// grew takes in the bytes of an applied entry.
func (s *snapshotter) grew(bytes int) {
	if many := s.entries.Add(1) >= s.most; s.bytes.Add(int64(bytes)) < s.limit && !many {
		return
	}
	select {
	case s.ask <- struct{}{}:
	default:
	}
}

func (s *snapshotter) run(r interface{ Snapshot() raft.SnapshotFuture }) {
	defer close(s.done)
	for {
		select {
		case <-s.ask:
		case <-s.quit:
			return
		}
		s.bytes.Store(0)
		s.entries.Store(0)
		err := r.Snapshot().Error()
		switch {
		case err == nil:
			s.taken.Add(1)
		case errors.Is(err, raft.ErrNothingNewToSnapshot), errors.Is(err, raft.ErrRaftShutdown):
		default:
			// The log stays longer than it should; the next one may succeed.
			s.log.Warn("the log could not be cut", "error", err)
		}
	}
}
