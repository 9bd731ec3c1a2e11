package store

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// scheduler lets Pebble's compactions run, as many at a time as Pebble asks
// for, but none before the store is open: Pebble's Open would wait for one that
// starts in it, which after a burst of writes can be seconds. Unlike Pebble's
// own scheduler it has no ticker, so an idle store does nothing.
//
// Pebble's locks come before ours, so grants are given from a goroutine.
type scheduler struct {
	mu       sync.Mutex
	db       pebble.DBForCompaction
	held     bool // no compaction yet
	closed   bool
	running  int
	granting bool // the goroutine is there
	again    bool // it must look once more
	granters sync.WaitGroup
}

var (
	_ pebble.CompactionScheduler   = (*scheduler)(nil)
	_ pebble.CompactionGrantHandle = (*scheduler)(nil)
)

// Register is called by pebble.Open.
func (c *scheduler) Register(_ int, db pebble.DBForCompaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.db = db
}

// Unregister is called when the database is closed.
func (c *scheduler) Unregister() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.granters.Wait()
}

// TrySchedule is asked by Pebble, once: if refused it waits for a grant.
func (c *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.free() {
		c.again = true
		return false, nil
	}
	c.running++
	return true, c
}

// free says whether one more compaction may run. The lock is held.
func (c *scheduler) free() bool {
	return !c.held && !c.closed && c.running < c.db.GetAllowedWithoutPermission()
}

// UpdateGetAllowedWithoutPermission says that more may be allowed now.
func (c *scheduler) UpdateGetAllowedWithoutPermission() { c.look() }

// release lets compactions run from now on.
func (c *scheduler) release() {
	c.mu.Lock()
	c.held = false
	c.mu.Unlock()
	c.look()
}

// look starts the goroutine that grants, or lets it look again.
func (c *scheduler) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.held || c.closed:
	case c.granting:
		c.again = true
	default:
		c.granting = true
		c.granters.Go(c.grant)
	}
}

// grant gives grants as long as there are places and compactions that wait.
func (c *scheduler) grant() {
	for c.take() {
		if waiting, _ := c.db.GetWaitingCompaction(); waiting && c.db.Schedule(c) {
			continue
		}
		if !c.giveBack() {
			return
		}
	}
}

// take takes a place; if there is none the goroutine ends, and the next Done
// starts another.
func (c *scheduler) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.free() {
		c.granting = false
		return false
	}
	c.again = false
	c.running++
	return true
}

// giveBack gives a place back that nobody wanted, and says whether to look
// again: somebody may have asked meanwhile, and was refused for this place.
func (c *scheduler) giveBack() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.granting = c.again
	return c.again
}

// Done is called at the end of each compaction that was granted.
func (c *scheduler) Done() {
	c.mu.Lock()
	c.running--
	c.mu.Unlock()
	c.look()
}

// Started, MeasureCPU and CumulativeStats are for schedulers that share a CPU.
func (c *scheduler) Started() {}

// MeasureCPU does nothing.
func (c *scheduler) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats does nothing.
func (c *scheduler) CumulativeStats(pebble.CompactionGrantHandleStats) {}
