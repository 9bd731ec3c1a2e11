package store

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// crashOptions make small memtables, so that a short story has flushes, new
// WAL files and compactions.
func crashOptions() Options {
	o := testOptions(nil)
	o.MemTableBytes = 64 << 10
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
	var seed atomic.Uint64
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		for _, percent := range []int{0, 30, 100} {
			m := model()
			cfg := vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(seed.Add(1), 7))}
			each(fs.CrashClone(cfg), m, fmt.Sprintf("%d%% before %v of %s", percent, op.Kind, op.Path))
		}
		return nil
	}))
}

// TestCrashAtEveryStep: the power fails before each operation of the story.
func TestCrashAtEveryStep(t *testing.T) {
	stream, records := other(t)
	type crash struct {
		fs    *vfs.MemFS
		model *model
		when  string
	}
	crashes := make(chan crash, 4)
	c := newScript(t)
	fs := powerCuts(newDisk(t), c.m.copy, func(left *vfs.MemFS, m *model, when string) {
		m.allowLater(c.m)
		crashes <- crash{left, m, when}
	})
	go func() {
		defer close(crashes)
		c.run(fs, stream, records, crashOptions())
	}()
	n := 0
	for cr := range crashes {
		n++
		if !t.Failed() {
			cr.model.verify(t, cr.fs, cr.when)
		}
	}
	t.Logf("%d crashes", n)
}

// TestCrashInRecovery: the power fails in the middle of a restore, and again
// and again while the next start does it anew.
func TestCrashInRecovery(t *testing.T) {
	stream, records := other(t)
	c := newScript(t)
	restored := &model{
		log: series{all: []string{"empty"}}, vote: series{all: []string{""}},
		state: series{all: []string{stateVersion(9, 2, records)}},
	}
	var halves []*vfs.MemFS
	disk := newDisk(t)
	fs := powerCuts(disk, c.m.copy, func(left *vfs.MemFS, _ *model, when string) {
		if s := c.s; s != nil && !s.meta.Load().valid && strings.HasPrefix(when, "0%") {
			halves = append(halves, left)
		}
	})
	o := crashOptions()
	o.FS = fs
	var err error
	c.s, err = Open(o)
	must(t, err)
	must(t, c.s.Log().StoreLogs(entries(1, 3, 1)))
	id := receive(t, c.s, 9, 2, testConf, 1, stream)
	_, r, err := c.s.Snapshots().Open(id)
	must(t, err)
	must(t, c.s.Restore(r, 9, 2))
	must(t, r.Close())
	closeStore(t, c.s)
	if len(halves) == 0 {
		t.Fatal("the restore wrote nothing")
	}
	half := halves[len(halves)/2]
	n := 0
	again := powerCuts(half, func() *model { return restored }, func(left *vfs.MemFS, m *model, when string) {
		n++
		m.verify(t, left, "in the recovery: "+when)
	})
	restored.verify(t, again, "after the recovery")
	t.Logf("%d crashes", n)
}
