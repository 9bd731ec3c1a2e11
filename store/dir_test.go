package store

import (
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func write(t testing.TB, name, data string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o700))
	must(t, os.WriteFile(name, []byte(data), 0o600))
}

// contents reads every file below dir, but for the locks.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == lockFile {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(data)
		return err
	}))
	return files
}

// realOptions are testOptions on the machine's own file system.
func realOptions(dir string) Options {
	o := testOptions(nil)
	o.Dir = dir
	return o
}

func TestForeignDirectories(t *testing.T) {
	for _, c := range []struct {
		name  string
		files []string
		want  error
	}{
		{"somebody's files", []string{"letter.txt"}, ErrForeign},
		{"a bare Pebble", []string{"MANIFEST-000001", "000002.log", "marker.manifest.000001.MANIFEST-000001"}, ErrForeign},
		{"our database, marker lost", []string{"db/000002.log"}, ErrDamaged},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range c.files {
				write(t, filepath.Join(dir, f), "precious")
			}
			before := contents(t, dir)
			_, err := Open(realOptions(dir))
			if !errors.Is(err, c.want) {
				t.Errorf("Open: %v", err)
			}
			if !maps.Equal(before, contents(t, dir)) {
				t.Error("files were changed")
			}
			if _, err := os.Stat(filepath.Join(dir, lockFile)); err == nil {
				t.Error("a lock was left")
			}
		})
	}
}

func TestDirectoryIsAFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "data")
	write(t, name, "x")
	if _, err := Open(realOptions(name)); err == nil || !strings.Contains(err.Error(), "is a file") {
		t.Errorf("Open: %v", err)
	}
}

func TestEmptyDirectoriesAreTaken(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "lost+found"), 0o700))
	for _, d := range []string{dir, filepath.Join(t.TempDir(), "a", "b")} {
		s, err := Open(realOptions(d))
		must(t, err)
		closeStore(t, s)
		s, err = Open(realOptions(d))
		must(t, err)
		closeStore(t, s)
	}
}

func TestNewerAndBrokenMarkers(t *testing.T) {
	for text, want := range map[string]error{
		"redlockd data, format 2\n": ErrNewer,
		"":                          ErrDamaged,
		"hello":                     ErrDamaged,
		strings.Repeat("x", 9000):   ErrDamaged,
	} {
		fs := vfs.NewMem()
		closeStore(t, openStore(t, fs))
		f, err := fs.Create(fs.PathJoin(testDir, markerFile), vfs.WriteCategoryUnspecified)
		must(t, err)
		_, err = io.WriteString(f, text)
		must(t, err)
		must(t, f.Close())
		if _, err := Open(testOptions(fs)); !errors.Is(err, want) {
			t.Errorf("marker %.30q: %v", text, err)
		}
	}
}

func TestSecondOpen(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(realOptions(dir))
	must(t, err)
	defer closeStore(t, s)
	if _, err := Open(realOptions(dir)); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("in this process: %v", err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestOpenInChild$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"=open", "REDLOCKD_STORE_DIR="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "in use by another process") {
		t.Errorf("in another process: %v\n%s", err, out)
	}
	must(t, s.Apply(1, 1, put("a=1"))) // and this one goes on
}

// TestOpenInChild is the other process of TestSecondOpen.
func TestOpenInChild(t *testing.T) {
	if os.Getenv(childEnv) != "open" {
		t.Skip("started by TestSecondOpen")
	}
	_, err := Open(realOptions(os.Getenv("REDLOCKD_STORE_DIR")))
	t.Log(err)
}

// damagedDir makes a directory whose database has tables, an unflushed WAL, a
// log and a state, as a killed process leaves it.
func damagedDir(t *testing.T) string {
	t.Helper()
	from := t.TempDir()
	s, err := Open(realOptions(from))
	must(t, err)
	must(t, s.Log().StoreLogs(entries(1, 200, 1)))
	must(t, s.Apply(100, 1, put("a=1", "b=2")))
	must(t, s.db.Flush())
	for i := uint64(201); i <= 400; i++ {
		must(t, s.Log().StoreLogs(entries(i, i, 1)))
	}
	must(t, s.Apply(300, 1, put("a=2")))
	must(t, s.Sync())
	to := t.TempDir()
	must(t, os.CopyFS(to, os.DirFS(from)))
	closeStore(t, s)
	return to
}

// newest is the last file in name order that matches.
func newest(t *testing.T, dir, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	must(t, err)
	if len(names) == 0 {
		t.Fatalf("no %s in %s", pattern, dir)
	}
	return slices.Max(names)
}

// TestDamagedDirectories: each kind of damage is found at the start, the error
// names the file, and no file is changed.
func TestDamagedDirectories(t *testing.T) {
	overwrite := func(at int, with string) func(*testing.T, string) {
		return func(t *testing.T, name string) {
			data, err := os.ReadFile(name)
			must(t, err)
			copy(data[at:], with)
			must(t, os.WriteFile(name, data, 0o600))
		}
	}
	replace := func(old, with string) func(*testing.T, string) {
		return func(t *testing.T, name string) {
			data, err := os.ReadFile(name)
			must(t, err)
			must(t, os.WriteFile(name, []byte(strings.ReplaceAll(string(data), old, with)), 0o600))
		}
	}
	remove := func(t *testing.T, name string) { must(t, os.Remove(name)) }
	empty := func(t *testing.T, name string) { must(t, os.Truncate(name, 0)) }
	half := func(t *testing.T, name string) {
		info, err := os.Stat(name)
		must(t, err)
		must(t, os.Truncate(name, info.Size()/2))
	}
	for _, c := range []struct {
		name, file string
		damage     func(*testing.T, string)
		names      string // what the error must name; "" is the file itself
	}{
		{"marker removed", "REDLOCKD", remove, ""},
		{"manifest removed", "db/MANIFEST-*", remove, ""},
		{"manifest emptied", "db/MANIFEST-*", empty, "MANIFEST"},
		{"manifest overwritten at its start", "db/MANIFEST-*", overwrite(0, "garbage garbage garbage"), "MANIFEST"},
		{"manifest marker removed", "db/marker.manifest.*", remove, "db"},
		{"format marker removed", "db/marker.format-version.*", remove, "db"},
		{"options of another database", "db/OPTIONS-*", replace("leveldb.BytewiseComparator", "leveldb.BackwardComparator"), "BackwardComparator"},
		{"table removed", "db/*.sst", remove, "000005"},
		{"table cut in half", "db/*.sst", half, ""},
		{"WAL removed", "db/*.log", remove, ""},
		{"WAL emptied", "db/*.log", empty, ""},
		{"WAL cut short", "db/*.log", func(t *testing.T, name string) { must(t, os.Truncate(name, 9000)) }, ""},
		{"WAL overwritten in its middle", "db/*.log", overwrite(9000, "garbage garbage garbage"), ""},
		{"directory db removed", "db", func(t *testing.T, name string) { must(t, os.RemoveAll(name)) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := damagedDir(t)
			file := newest(t, dir, c.file)
			c.damage(t, file)
			before := contents(t, dir)
			s, err := Open(realOptions(dir))
			if err == nil {
				closeStore(t, s)
			}
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("Open: %v", err)
			}
			want := c.names
			if want == "" {
				want = filepath.Base(file)
			}
			t.Log(err)
			if !strings.Contains(err.Error(), want) {
				t.Errorf("the error does not name %s: %v", want, err)
			}
			if after := contents(t, dir); !maps.Equal(before, after) {
				t.Errorf("files were changed: before %v, after %v", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
			}
		})
	}
}

// TestDamagedTableBlocks: blocks are checked as they are read; that of the
// state by State, at the latest.
func TestDamagedTableBlocks(t *testing.T) {
	dir := damagedDir(t)
	file := newest(t, dir, "db/*.sst")
	data, err := os.ReadFile(file)
	must(t, err)
	for i := range len(data) / 2 {
		data[i] ^= 0x55
	}
	must(t, os.WriteFile(file, data, 0o600))
	s, err := Open(realOptions(dir))
	if err == nil {
		err = s.State(func(Write) bool { return true })
		_ = s.Close()
	}
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), filepath.Base(file)) {
		t.Errorf("%v does not name %s", err, file)
	}
}
