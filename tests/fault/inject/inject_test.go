package inject

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func openPage(t *testing.T) *Page {
	t.Helper()
	p, err := OpenPage(filepath.Join(t.TempDir(), "page"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestBothSides checks that what one side writes the other sees, and that it outlives both.
func TestBothSides(t *testing.T) {
	p := openPage(t)
	other, err := OpenPage(p.Path())
	if err != nil {
		t.Fatal(err)
	}
	p.SetDisk(DiskFull)
	p.StepClock(3600)
	*other.wal(7) = 99
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if other, err = OpenPage(p.Path()); err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if n, ok := p.Synced(7); n != 99 || !ok || other.disk() != DiskFull || other.slots[slotClock] != 3600 {
		t.Errorf("%d %v %v %d", n, ok, other.disk(), other.slots[slotClock])
	}
	*other.wal(7 + walSlots) = 1
	if _, ok := p.Synced(7); ok {
		t.Error("an old WAL file's pair is another's now")
	}
	if n, ok := p.Synced(7 + walSlots); n != 1 || !ok {
		t.Errorf("%d %v", n, ok)
	}
}

func TestPageThatCannotBe(t *testing.T) {
	if _, err := OpenPage(t.TempDir()); err == nil || !strings.Contains(err.Error(), "page of faults") {
		t.Error(err)
	}
}

// TestFullDisk checks that nothing can be written any more, and that the space is told of.
func TestFullDisk(t *testing.T) {
	p := openPage(t)
	fs := faultFS{vfs.Default, p}
	dir := t.TempDir()
	name := fs.PathJoin(dir, "000001.sst")
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	p.SetDisk(DiskNearlyFull)
	if _, err := f.Write([]byte("x")); err != nil {
		t.Error("it is not full yet:", err)
	}
	if u, err := fs.GetDiskUsage(dir); err != nil || u.AvailBytes != 1<<20 {
		t.Errorf("%+v, %v", u, err)
	}
	p.SetDisk(DiskFull)
	_, create := fs.Create(name+"2", vfs.WriteCategoryUnspecified)
	_, reuse := fs.ReuseForWrite(name, name+"2", vfs.WriteCategoryUnspecified)
	_, write := f.Write([]byte("x"))
	_, writeAt := f.WriteAt([]byte("x"), 0)
	rw, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer rw.Close()
	_, again := rw.Write([]byte("x"))
	for what, err := range map[string]error{
		"create": create, "reuse": reuse, "write": write, "write at": writeAt, "sync": f.Sync(), "sync data": f.SyncData(), "reopened": again,
	} {
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", what, err)
		}
	}
	p.SetDisk(DiskFine)
	if _, err := f.Write([]byte("x")); err != nil || f.Sync() != nil {
		t.Error(err)
	}
}

// TestPowerCut checks with Pebble itself that what was synced survives a cut, and that the rest is really gone.
func TestPowerCut(t *testing.T) {
	p := openPage(t)
	dir := t.TempDir()
	open := func() *pebble.DB {
		db, err := pebble.Open(dir, &pebble.Options{FS: faultFS{vfs.Default, p}})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := open()
	if err := db.Set([]byte("kept"), []byte("1"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := db.Set([]byte("lost"), make([]byte, 100<<10), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	// A kill leaves the files as they are now: in a copy.
	copied := filepath.Join(t.TempDir(), "killed")
	for lost := int64(0); lost == 0; {
		if err := os.RemoveAll(copied); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		var err error
		if lost, err = p.CutPower(copied); err != nil { // once Pebble has written what it was given
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	dir = copied
	db = open()
	defer db.Close()
	_, closer, err := db.Get([]byte("kept"))
	if err != nil {
		t.Fatal("what was synced is gone: ", err)
	}
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := db.Get([]byte("lost")); !errors.Is(err, pebble.ErrNotFound) {
		t.Errorf("what was not synced: %v, want it gone", err)
	}
}

func TestNoSuchFolder(t *testing.T) {
	if _, err := openPage(t).CutPower(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no error")
	}
}
