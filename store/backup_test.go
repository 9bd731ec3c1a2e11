package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

var testInfo = BackupInfo{Cluster: "c1", Node: "a", Time: time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC), Version: "0.1.0"}

// backupOf returns the backup file of a store with the given records.
func backupOf(t testing.TB, index, term uint64, records ...string) []byte {
	t.Helper()
	s := openStore(t, vfs.NewMem())
	must(t, s.Apply(index, term, put(records...)))
	b, err := s.OpenBackup(testInfo)
	must(t, err)
	data, err := io.ReadAll(b)
	must(t, errors.Join(err, b.Close()))
	return data
}

// readBackup returns what is in a backup file.
func readBackup(data []byte) (string, BackupInfo, error) {
	var b strings.Builder
	info, err := ReadBackup(bytes.NewReader(data), int64(len(data)), func(w Write) { fmt.Fprintf(&b, "%s=%s ", w.Key, w.Value) })
	return b.String(), info, err
}

func TestBackup(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	data := backupOf(t, 7, 3, "a=1", "b=", "c="+long)
	text, info, err := readBackup(data)
	must(t, err)
	want := testInfo
	want.Index, want.Term = 7, 3
	if text != "a=1 b= c="+long+" " || info != want {
		t.Errorf("read %.100s of %+v", text, info)
	}
	if lines := strings.SplitN(string(data), "\n", 3); lines[0] != "redlockd backup 1" ||
		lines[1] != `{"cluster":"c1","node":"a","index":7,"term":3,"time":"2026-11-22T02:00:00Z","version":"0.1.0"}` {
		t.Errorf("the file starts with %q", lines[:2])
	}
	// Whoever reads in small pieces gets the same.
	s := openStore(t, vfs.NewMem())
	must(t, s.Apply(7, 3, put("a=1", "b=", "c="+long)))
	b, err := s.OpenBackup(testInfo)
	must(t, err)
	var slow bytes.Buffer
	_, err = io.CopyBuffer(struct{ io.Writer }{&slow}, struct{ io.Reader }{b}, make([]byte, 13))
	must(t, errors.Join(err, b.Close()))
	if !bytes.Equal(slow.Bytes(), data) {
		t.Errorf("%d bytes in pieces, %d at once", slow.Len(), len(data))
	}
	if _, err := openStore(t, vfs.NewMem()).OpenBackup(testInfo); err == nil {
		t.Error("a backup of nothing was taken")
	}
}

// TestDamagedBackups: every truncation and every flipped bit is refused.
func TestDamagedBackups(t *testing.T) {
	good := backupOf(t, 3, 1, "a=1", "b=2", "long="+strings.Repeat("x", 300))
	for n := range good {
		if _, _, err := readBackup(good[:n]); !errors.Is(err, ErrBadBackup) || !strings.Contains(err.Error(), "cut short") && n < len(backupMagic) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(good), err)
		}
		for bit := range 8 {
			flipped := bytes.Clone(good)
			flipped[n] ^= 1 << bit
			if _, _, err := readBackup(flipped); !errors.Is(err, ErrBadBackup) && !errors.Is(err, ErrNewer) {
				t.Fatalf("bit %d of byte %d flipped: %v", bit, n, err)
			}
		}
	}
	for name, data := range map[string][]byte{
		"longer":        append(bytes.Clone(good), 0),
		"twice":         append(bytes.Clone(good), good...),
		"a stream":      streamOf(t, 3, 1, "a=1"),
		"no second end": []byte(backupMagic + strings.Repeat("x", 2*maxBackupInfo)),
		"another's line": signed(bytes.Replace(good[:len(good)-sha256.Size],
			[]byte(`"index":3`), []byte(`"index":4`), 1)),
	} {
		if _, _, err := readBackup(data); !errors.Is(err, ErrBadBackup) {
			t.Errorf("%s: %v", name, err)
		}
	}
	newer := signed(bytes.Replace(good[:len(good)-sha256.Size], []byte("backup 1\n"), []byte("backup 2\n"), 1))
	if _, _, err := readBackup(newer); !errors.Is(err, ErrNewer) {
		t.Errorf("of a newer version: %v", err)
	}
}

// signed puts the checksum behind data.
func signed(data []byte) []byte {
	sum := sha256.Sum256(data)
	return append(bytes.Clone(data), sum[:]...)
}

// FuzzReadBackup: what is read is a file whose checksum is right, and what has
// a right checksum and is no backup is refused without much memory.
func FuzzReadBackup(f *testing.F) {
	good := backupOf(f, 3, 1, "a=1", "b=2", "c=")
	f.Add(good)
	f.Add(good[:len(good)-sha256.Size])
	f.Add(good[:len(good)-5])
	f.Add([]byte(backupMagic + "{}\n" + streamMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, _, err := readBackup(data); err == nil && !bytes.Equal(data, signed(data[:max(0, len(data)-sha256.Size)])) {
			t.Error("a file without its checksum was read")
		}
		whole := signed(data)
		text, info, err := readBackup(whole)
		if err != nil {
			return
		}
		if again, same, err := readBackup(whole); again != text || same != info || err != nil || info.Index == 0 {
			t.Errorf("read %q of %+v, then %q of %+v: %v", text, info, again, same, err)
		}
	})
}

// seedOf is a seed with records "seedNNN".
func seedOf(n int) Seed {
	return Seed{
		Index: 50, Term: 7, Configuration: raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a"}}},
		Stable: map[string]string{"name": "value"},
		Records: func(yield func(Write)) error {
			for i := range n {
				yield(Write{fmt.Appendf(nil, "seed%03d", i), bytes.Repeat([]byte{'s'}, 700)})
			}
			return nil
		},
	}
}

// verifySeed looks whether the directory holds all of a seed.
func verifySeed(t testing.TB, fs vfs.FS, n int) *Store {
	t.Helper()
	s := openStore(t, fs)
	index, term := s.Applied()
	conf, at := s.Configuration()
	value, err := s.Stable().Get([]byte("name"))
	must(t, err)
	records := 0
	must(t, s.State(func(Write) bool { records++; return true }))
	if index != 50 || term != 7 || at != 1 || len(conf.Servers) != 1 || string(value) != "value" || records != n || logText(t, s) != "empty" {
		t.Errorf("entry %d of term %d, configuration %v of %d, value %q, %d records, log %s", index, term, conf, at, value, records, logText(t, s))
	}
	return s
}

// TestSeedDir: Raft starts on it as a cluster of one, in a later term.
func TestSeedDir(t *testing.T) {
	fs := vfs.NewMem()
	must(t, SeedDir(testOptions(fs), seedOf(200)))
	s := verifySeed(t, fs, 200)
	n := startRaft(t, s, raftConfig("a"), "a")
	n.lead(t)
	f := n.Apply([]byte("key"), time.Second)
	must(t, f.Error())
	if f.Index() <= 50 || n.CurrentTerm() <= 7 {
		t.Errorf("the first entry is %d of term %d", f.Index(), n.CurrentTerm())
	}
	n.stop(t)
	if err := SeedDir(testOptions(fs), seedOf(1)); !errors.Is(err, ErrInUse) && !errors.Is(err, ErrNotEmpty) {
		t.Errorf("into an open store: %v", err)
	}
	closeStore(t, s)
	if err := SeedDir(testOptions(fs), seedOf(1)); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("into a used directory: %v", err)
	}
	s = openStore(t, fs)
	if got := stateText(t, s); !strings.HasPrefix(got, "key=") || strings.Count(got, "seed") != 200 {
		t.Errorf("the state is %.100s", got)
	}
}

// TestBackupAndClose: a store closes when its backups have ended, and opens none after that.
func TestBackupAndClose(t *testing.T) {
	s := openStore(t, vfs.NewMem())
	must(t, s.Apply(1, 1, put("a=1")))
	b, err := s.OpenBackup(testInfo)
	must(t, err)
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	eventually(t, "the end of backups", func() bool {
		late, err := s.OpenBackup(testInfo)
		if err != nil {
			return true
		}
		must(t, late.Close())
		return false
	})
	data, err := io.ReadAll(b)
	must(t, errors.Join(err, b.Close(), b.Close(), <-closed))
	if text, _, err := readBackup(data); text != "a=1 " || err != nil {
		t.Errorf("read %s: %v", text, err)
	}
}

func TestUnfinishedSeed(t *testing.T) {
	fs := vfs.NewMem()
	seed, broken := seedOf(300), errors.New("broken")
	all := seed.Records
	seed.Records = func(yield func(Write)) error { return errors.Join(all(yield), broken) }
	if err := SeedDir(testOptions(fs), seed); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if _, err := Open(testOptions(fs)); !errors.Is(err, ErrUnfinished) {
		t.Fatalf("a half made directory: %v", err)
	}
	if err := SeedDir(testOptions(fs), Seed{Term: 1}); err == nil {
		t.Error("a seed of nothing was taken")
	}
	must(t, SeedDir(testOptions(fs), seedOf(3)))
	verifySeed(t, fs, 3)
}

// TestSeedCrash: the power fails at each step of a seed. What is left is empty
// or refused, never half; a second try makes it whole.
func TestSeedCrash(t *testing.T) {
	disk := newDisk(t)
	var lefts []*vfs.MemFS
	var whens []string
	o := crashOptions()
	o.FS = powerCuts(disk, func() *model { return nil }, func(left *vfs.MemFS, _ *model, when string) {
		lefts, whens = append(lefts, left), append(whens, when)
	})
	must(t, SeedDir(o, seedOf(150)))
	verifySeed(t, disk.CrashClone(vfs.CrashCloneCfg{}), 150)
	empty, refused, whole := 0, 0, 0
	for i, left := range lefts {
		o := crashOptions()
		o.FS = left.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))})
		s, err := Open(o)
		switch {
		case errors.Is(err, ErrUnfinished):
			refused++
		case err != nil:
			t.Fatalf("%s: %v", whens[i], err)
		default:
			index, _ := s.Applied()
			text := stateText(t, s)
			closeStore(t, s)
			if index == 0 && text == "" {
				empty++
				break
			}
			whole++
			verifySeed(t, left, 150)
			continue
		}
		if i%10 == 0 {
			o.FS = left
			must(t, SeedDir(o, seedOf(150)))
			verifySeed(t, left, 150)
		}
	}
	t.Logf("%d power cuts: %d left an empty directory, %d one that is refused, %d a whole one", len(lefts), empty, refused, whole)
	if empty == 0 || refused == 0 || whole == 0 {
		t.Error("the power cuts have not met what they should")
	}
}
