package sim

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/store"
)

// dataDir is where each node's disk has its data.
const dataDir = "data"

// powerCut returns what is left of a disk: all that was synced, and about percent
// of the rest.
func powerCut(fs *vfs.MemFS, percent int, rng *rand.Rand) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
}

// storage is a store whose log and votes can be held back, and whose disk can be
// nearly full.
type storage struct {
	*store.Store
	gate *gate
	slow *atomic.Int64 // how long a sync takes at most, in ns
	full *atomic.Bool
}

func (s storage) Log() raft.LogStore       { return heldLog{s.Store.Log(), disk{s.gate, s.slow}} }
func (s storage) Stable() raft.StableStore { return heldStable{s.Store.Stable(), disk{s.gate, s.slow}} }

// DiskFree has 10 GB free, or nothing.
func (s storage) DiskFree() (free, total uint64, err error) {
	if s.full.Load() {
		return 1 << 20, 100 << 30, nil
	}
	return 10 << 30, 100 << 30, nil
}

// disk is what a write waits for.
type disk struct {
	gate *gate
	slow *atomic.Int64
}

// pass waits before a write, and synced behind it: what was written may be on the
// disk long before that is known.
func (d disk) pass() {
	d.gate.pass()
	d.wait()
}

func (d disk) synced() { d.wait() }

func (d disk) wait() {
	if most := d.slow.Load(); most > 0 {
		time.Sleep(time.Duration(rand.Int64N(most)))
	}
}

type heldLog struct {
	raft.LogStore
	disk disk
}

func (l heldLog) StoreLogs(logs []*raft.Log) error {
	l.disk.pass()
	defer l.disk.synced()
	return l.LogStore.StoreLogs(logs)
}

func (l heldLog) StoreLog(log *raft.Log) error { return l.StoreLogs([]*raft.Log{log}) }

// IsMonotonic says what the store says.
func (l heldLog) IsMonotonic() bool {
	m, ok := l.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

type heldStable struct {
	raft.StableStore
	disk disk
}

func (s heldStable) Set(key, val []byte) error {
	s.disk.pass()
	defer s.disk.synced()
	return s.StableStore.Set(key, val)
}

func (s heldStable) SetUint64(key []byte, val uint64) error {
	s.disk.pass()
	defer s.disk.synced()
	return s.StableStore.SetUint64(key, val)
}
