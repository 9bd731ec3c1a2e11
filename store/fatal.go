package store

import (
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// fatal ends the process by OnFatal and never returns. Only the first call
// reaches OnFatal; others wait behind it or, where it came back, panic.
func (s *Store) fatal(err error) {
	s.dead.Store(true)
	s.fatalOnce.Do(func() { s.opts.OnFatal(err) })
	// Whoever gets here must not go on: a write that Pebble could not finish
	// would be answered as if it were on disk.
	panic(fmt.Sprintf("store: OnFatal returned: %v", err))
}

// lane is one kind of write: its lock, its batch, used again and again, and
// its watchdog.
type lane struct {
	sync.Mutex
	s     *Store
	name  string
	batch *pebble.Batch
	timer *time.Timer
}

func (l *lane) init(s *Store, name string, size int) {
	l.s, l.name = s, name
	l.batch = s.db.NewBatch(pebble.WithInitialSizeBytes(size))
	l.timer = time.AfterFunc(s.opts.WriteLimit, l.overdue)
	l.timer.Stop()
}

// overdue runs when a write has taken longer than WriteLimit.
func (l *lane) overdue() {
	l.s.fatal(fmt.Errorf("store: a write (%s) has taken longer than %v: the disk hangs or is full, "+
		"and such a node must not stay in office", l.name, l.s.opts.WriteLimit))
}

// begin empties the lane's batch and returns it. The lane is locked.
func (l *lane) begin() *pebble.Batch {
	l.batch.Reset()
	return l.batch
}

// commit writes the lane's batch; it returns only when that has succeeded.
// sync waits until the batch, and all that was written before, is on disk.
func (l *lane) commit(sync bool) {
	defer func() {
		// Pebble panics where it cannot close or make a WAL file.
		if r := recover(); r != nil {
			if l.s.dead.Load() { // it comes from OnFatal, or OnFatal is under way
				l.s.fatalOnce.Do(func() {})
				panic(r)
			}
			l.s.fatal(fmt.Errorf("store: writing (%s): %v", l.name, r))
		}
	}()
	how := pebble.NoSync
	var applied uint64 // what this sync makes durable, at least
	if sync {
		how = pebble.Sync
		applied, _ = l.s.Applied()
	}
	// A write without a sync can hang too: while flushes fail, for one because
	// the disk is full, Pebble tries them for ever and lets writes wait.
	l.timer.Reset(l.s.opts.WriteLimit)
	err := l.batch.Commit(how)
	l.timer.Stop()
	if err != nil {
		l.s.fatal(fmt.Errorf("store: writing (%s): %w", l.name, err))
	}
	if l.s.dead.Load() {
		// Another goroutine has met a failed write: acknowledge nothing more.
		l.s.fatal(fmt.Errorf("store: writing (%s) after a failed write", l.name))
	}
	if sync {
		l.s.witness.durable(applied, l == &l.s.syncs)
	}
}

// must ends the process where a batch could not even be filled: it is closed
// or too large, both bugs, and the caller has no way back.
func (l *lane) must(err error) {
	if err != nil {
		l.s.fatal(fmt.Errorf("store: filling a batch (%s): %w", l.name, err))
	}
}

func (l *lane) close() {
	l.timer.Stop()
	_ = l.batch.Close()
}
