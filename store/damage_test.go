package store

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// clone copies a disk with all that is on it.
func clone(fs *vfs.MemFS) *vfs.MemFS {
	return fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
}

// filesOf lists the files of the data directory and their contents.
func filesOf(t testing.TB, fs vfs.FS) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for _, dir := range []string{testDir, path.Join(testDir, dbDir)} {
		names, err := fs.List(dir)
		must(t, err)
		for _, name := range names {
			name = path.Join(dir, name)
			if info, err := fs.Stat(name); err != nil || info.IsDir() || path.Base(name) == lockFile {
				continue
			}
			f, err := fs.Open(name)
			must(t, err)
			found[name], err = io.ReadAll(f)
			must(t, errors.Join(err, f.Close()))
		}
	}
	return found
}

func overwriteFile(t testing.TB, fs vfs.FS, name string, data []byte) {
	t.Helper()
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.Write(data)
	must(t, errors.Join(err, f.Close()))
}

// fate is how a store comes back from damage.
type fate int

const (
	whole   fate = iota // with all that was acknowledged
	shorter             // as it was at an earlier moment
	refused             // not, with an error that says so
)

// look opens what is on the disk and reads everything. It fails the test if that
// is no state that the store ever had.
func (m *model) look(t testing.TB, fs vfs.FS, what string) (f fate) {
	t.Helper()
	o := crashOptions()
	o.FS = fs
	s, err := Open(o)
	if err != nil {
		if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) && !errors.Is(err, ErrForeign) {
			t.Errorf("%s: Open: %v", what, err)
		}
		return refused
	}
	defer func() {
		if r, ok := recover().(fatalPanic); ok { // the process would have ended
			if !errors.Is(r.err, ErrDamaged) {
				t.Errorf("%s: fatal with %v", what, r.err)
			}
			f = refused
			s.closeLanes()
			_ = s.db.Close()
			s.witness.close()
			_ = s.dir.lock.Close()
			return
		}
		_ = s.Close()
	}()
	records := map[string]string{}
	err = s.State(func(w Write) bool {
		records[string(w.Key)] = string(w.Value)
		return true
	})
	if errors.Is(err, ErrDamaged) {
		return refused
	}
	must(t, err)
	index, term := s.Applied()
	vote, err := s.Stable().Get([]byte("vote"))
	if errors.Is(err, ErrDamaged) {
		return refused
	}
	must(t, err)
	log, state := logText(t, s), stateVersion(index, term, records)
	f = whole
	for _, c := range []struct {
		name, got string
		had       series
	}{{"log", log, m.log}, {"vote", string(vote), m.vote}, {"state", state, m.state}} {
		switch {
		case c.had.allows(c.got):
		case slices.Contains(c.had.all, c.got):
			f = shorter
		default:
			t.Errorf("%s: the %s is %.300s, which it never was", what, c.name, c.got)
		}
	}
	return f
}

// damageAll flips bits in every file, cuts it, and looks what comes back. Only the end of the newest WAL file may be forgotten without a
// word, as DESIGN.md says.
func damageAll(t *testing.T, disk *vfs.MemFS, m *model, points int) map[string]map[fate]int {
	t.Helper()
	fates := map[string]map[fate]int{}
	files := filesOf(t, disk)
	newest := ""
	for name := range files {
		if isWAL(name) {
			newest = max(newest, name)
		}
	}
	rng := rand.New(rand.NewPCG(3, 9))
	for name, data := range files {
		kind := path.Base(name)
		if i := strings.IndexAny(kind, "0123456789"); i == 0 {
			kind = path.Ext(kind)
		} else if i > 0 {
			kind = kind[:i]
		}
		if fates[kind] == nil {
			fates[kind] = map[fate]int{}
		}
		for i := range points {
			at := i * len(data) / points
			if isWAL(name) && i%2 == 1 { // the rest of a WAL file may be of an older one
				at = min(at, rng.IntN(4096))
			}
			for how, bad := range [][]byte{slices.Clone(data), data[:at]} {
				if how == 0 && len(data) > 0 {
					bad[at] ^= 1 << rng.IntN(8)
				}
				what := fmt.Sprintf("%s, damage %d at %d of %d", name, how, at, len(data))
				left := clone(disk)
				overwriteFile(t, left, name, bad)
				f := m.look(t, left, what)
				if f == shorter && name != newest {
					t.Errorf("%s: it came back without what was acknowledged, and without a word", what)
				}
				fates[kind][f]++
			}
		}
	}
	return fates
}

// TestDamageOfEachFile: a bit flipped or the end cut off, in every kind of file,
// of a store that was killed, and of one killed in the middle of a restore: it
// comes back with all that was acknowledged or says that it is damaged.
func TestDamageOfEachFile(t *testing.T) {
	stream, records := other(t)
	points := 24
	if testing.Short() {
		points = 6
	}
	t.Run("killed", func(t *testing.T) {
		disk := newDisk(t)
		c := newScript(t)
		o := crashOptions()
		var killed *vfs.MemFS
		c.killed = func() { killed = clone(disk) }
		c.run(disk, stream, records, o)
		fates := damageAll(t, killed, c.m, points)
		t.Logf("%v (0 whole, 1 as it was earlier, 2 refused)", fates)
		for _, kind := range []string{".log", ".sst", "MANIFEST-", "REDLOCKD"} {
			if fates[kind][refused] == 0 {
				t.Errorf("no damage of %s was found: %v", kind, fates[kind])
			}
		}
		if fates[witnessFile][whole] != 2*points {
			t.Errorf("the witness did harm: %v", fates[witnessFile])
		}
	})
	t.Run("half restored", func(t *testing.T) {
		half := halfRestored(t, stream)
		// With the end of the newest WAL file the beginning of the restore may be lost, or the log before it.
		restored := &model{
			log: series{all: []string{"1-3: 1x3", "empty"}, floor: 1}, vote: series{all: []string{""}},
			state: series{all: []string{stateVersion(0, 0, nil), stateVersion(9, 2, records)}, floor: 1},
		}
		some := max(2, points/4) // Pebble takes seconds to look for the flipped bit of a large piece of the WAL
		fates := damageAll(t, half, restored, some)
		t.Logf("%v (0 whole, 1 as it was earlier, 2 refused)", fates)
		if f := fates[receivedFile]; f[refused] != 2*some {
			t.Errorf("damage of the staged snapshot: %v", f)
		}
		if f := fates[".log"]; f[whole] == 0 || f[refused] == 0 {
			t.Errorf("damage of the WAL: %v", f)
		}
	})
}
