package sim

import (
	"math/rand/v2"
	"sync/atomic"

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
	full *atomic.Bool
}

func (s storage) Log() raft.LogStore       { return heldLog{s.Store.Log(), s.gate} }
func (s storage) Stable() raft.StableStore { return heldStable{s.Store.Stable(), s.gate} }

// DiskFree has 10 GB free, or nothing.
func (s storage) DiskFree() (free, total uint64, err error) {
	if s.full.Load() {
		return 1 << 20, 100 << 30, nil
	}
	return 10 << 30, 100 << 30, nil
}

type heldLog struct {
	raft.LogStore
	gate *gate
}

func (l heldLog) StoreLogs(logs []*raft.Log) error {
	l.gate.pass()
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
	gate *gate
}

func (s heldStable) Set(key, val []byte) error {
	s.gate.pass()
	return s.StableStore.Set(key, val)
}

func (s heldStable) SetUint64(key []byte, val uint64) error {
	s.gate.pass()
	return s.StableStore.SetUint64(key, val)
}
