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
	watch watch
}

// watchTicks is into how many ticks the watchdog cuts WriteLimit. A process that
// was frozen gets one tick for all that time: the disk is not to blame for it.
const watchTicks = 10

// watch counts the time of one write in short ticks.
type watch struct {
	sync.Mutex
	timer  *time.Timer
	tick   time.Duration
	ticks  int
	active bool
}

func (w *watch) start() {
	w.Lock()
	w.ticks, w.active = 0, true
	w.timer.Reset(w.tick)
	w.Unlock()
}

func (w *watch) stop() {
	w.Lock()
	w.active = false
	w.timer.Stop()
	w.Unlock()
}

// late counts a tick, and reports whether the write has had all of them.
func (w *watch) late() bool {
	w.Lock()
	defer w.Unlock()
	if !w.active {
		return false // it ended while this tick was on its way
	}
	if w.ticks++; w.ticks < watchTicks {
		w.timer.Reset(w.tick)
		return false
	}
	return true
}

func (l *lane) init(s *Store, name string, size int) {
	l.s, l.name = s, name
	l.batch = s.db.NewBatch(pebble.WithInitialSizeBytes(size))
	l.watch.tick = s.opts.WriteLimit / watchTicks
	l.watch.timer = time.AfterFunc(time.Hour, l.overdue)
	l.watch.timer.Stop()
}

// overdue runs at each tick of a write, and ends the process when that has taken
// longer than WriteLimit.
func (l *lane) overdue() {
	if !l.watch.late() {
		return
	}
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
	l.watch.start()
	err := l.batch.Commit(how)
	if err == nil && sync && !l.s.dead.Load() {
		// The witness is on the same disk, which can hang behind the sync as well.
		l.s.witness.durable(applied, l == &l.s.syncs)
	}
	l.watch.stop()
	if err != nil {
		l.s.fatal(fmt.Errorf("store: writing (%s): %w", l.name, err))
	}
	if l.s.dead.Load() {
		// Another goroutine has met a failed write: acknowledge nothing more.
		l.s.fatal(fmt.Errorf("store: writing (%s) after a failed write", l.name))
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
	l.watch.stop()
	_ = l.batch.Close()
}
