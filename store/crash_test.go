package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// crashOptions make small memtables, so that a short story has flushes, new
// WAL files and compactions.
func crashOptions() Options {
	o := testOptions(nil)
	o.MemTableBytes = 64 << 10
	o.WriteLimit = time.Hour // the disk waits for the test
	return o
}

// newDisk is a disk that can crash, with an empty data directory on it.
func newDisk(t testing.TB) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewCrashableMem()
	must(t, fs.MkdirAll(testDir, 0o700))
	root, err := fs.OpenDir("")
	must(t, err)
	must(t, root.Sync())
	must(t, root.Close())
	return fs
}

// powerCuts returns a view of the disk that hands what is left of it to each,
// before every operation that writes: with none, some and all of what was not
// synced. model is called before the disk is looked at.
func powerCuts(fs *vfs.MemFS, model func() *model, each func(left *vfs.MemFS, m *model, when string)) vfs.FS {
	var mu sync.Mutex
	seed := uint64(0)
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		for _, percent := range []int{0, 30, 100} {
			m := model()
			seed++
			cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed, 7))}
			each(fs.CrashClone(cfg), m, fmt.Sprintf("%d%% before %v of %s", percent, op.Kind, op.Path))
		}
		return nil
	}))
}

// crashAll runs the story on the disk and verifies all that power cuts leave; it returns how many these were.
func crashAll(t *testing.T, disk *vfs.MemFS, now *model, story func(vfs.FS)) int {
	t.Helper()
	type crash struct {
		fs    *vfs.MemFS
		model *model
		when  string
	}
	crashes := make(chan crash, 4)
	fs := powerCuts(disk, now.copy, func(left *vfs.MemFS, m *model, when string) {
		m.allowLater(now)
		crashes <- crash{left, m, when}
	})
	go func() {
		defer close(crashes)
		story(fs)
	}()
	n := 0
	for c := range crashes {
		n++
		if !t.Failed() {
			c.model.verify(t, c.fs, c.when)
		}
	}
	t.Logf("%d crashes", n)
	return n
}

// TestCrashAtEveryStep: the power fails before each operation of the story.
func TestCrashAtEveryStep(t *testing.T) {
	stream, records := other(t)
	c := newScript(t)
	const least = 500 // a story that became shorter would prove less
	if n := crashAll(t, newDisk(t), c.m, func(fs vfs.FS) { c.run(fs, stream, records, crashOptions()) }); n < least {
		t.Errorf("the power failed %d times, want at least %d", n, least)
	}
}

// halfRestored is what the power cut leaves in the middle of a restore of the
// stream, at entry 9 of term 2.
func halfRestored(t *testing.T, stream []byte) *vfs.MemFS {
	t.Helper()
	var store atomic.Pointer[Store]
	var halves []*vfs.MemFS
	o := crashOptions()
	o.FS = powerCuts(newDisk(t), func() *model { return nil }, func(left *vfs.MemFS, _ *model, when string) {
		if s := store.Load(); s != nil && !s.meta.Load().valid && strings.HasPrefix(when, "0%") {
			halves = append(halves, left)
		}
	})
	s, err := Open(o)
	must(t, err)
	store.Store(s)
	must(t, s.Log().StoreLogs(entries(1, 3, 1)))
	id := receive(t, s, 9, 2, testConf, 1, stream)
	_, r, err := s.Snapshots().Open(id)
	must(t, err)
	must(t, s.Restore(r, 9, 2))
	must(t, r.Close())
	closeStore(t, s)
	// The last one that can not do without the staged file: most is written then.
	for _, half := range slices.Backward(halves) {
		o := crashOptions()
		without := clone(half)
		o.FS = without
		must(t, without.Remove(without.PathJoin(testDir, receivedFile)))
		s, err := Open(o)
		if errors.Is(err, ErrDamaged) {
			return half
		}
		must(t, err)
		closeStore(t, s)
	}
	t.Fatal("the restore was never in its middle")
	return nil
}

// TestCrashInRecovery: the power fails in the middle of a restore, and again
// while the next start does it anew.
func TestCrashInRecovery(t *testing.T) {
	stream, records := other(t)
	restored := &model{
		log: series{all: []string{"empty"}}, vote: series{all: []string{""}},
		state: series{all: []string{stateVersion(9, 2, records)}},
	}
	crashAll(t, halfRestored(t, stream), restored, func(fs vfs.FS) { restored.verify(t, fs, "the recovery") })
}

// TestCrashOfNewDirectories: the data directory was made in directories that were
// missing, too. Their names must last as long as what is in it: without them a node
// comes back empty, having voted and acknowledged.
func TestCrashOfNewDirectories(t *testing.T) {
	disk := vfs.NewCrashableMem()
	o := testOptions(disk)
	o.Dir = disk.PathJoin("/var", "lib", "locks", "n1")
	s, err := Open(o)
	must(t, err)
	must(t, s.Log().StoreLogs(entries(1, 3, 1)))
	left := disk.CrashClone(vfs.CrashCloneCfg{})
	closeStore(t, s)
	o.FS = left
	s, err = Open(o)
	must(t, err)
	defer closeStore(t, s)
	if last, _ := s.Log().LastIndex(); last != 3 {
		t.Errorf("the log ends at entry %d after a power cut, want 3", last)
	}
}
