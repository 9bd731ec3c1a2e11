package cluster

import (
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// snapshotter asks Raft for a snapshot each limit bytes of applied log: Raft's
// own threshold counts entries, and one entry may hold a thousand ops.
type snapshotter struct {
	limit int64
	log   *slog.Logger
	bytes atomic.Int64
	taken atomic.Uint64
	ask   chan struct{} // capacity 1
	quit  chan struct{}
	done  chan struct{}
}

func newSnapshotter(limit int64, log *slog.Logger) *snapshotter {
	return &snapshotter{limit: limit, log: log, ask: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
}

// grew takes in the bytes of an applied entry.
func (s *snapshotter) grew(bytes int) {
	if s.bytes.Add(int64(bytes)) < s.limit {
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
