package inject

import (
	"os"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// init puts the faults between Pebble and the disk of a server that was started with a page.
func init() {
	path := os.Getenv(Env)
	if path == "" {
		return
	}
	page, err := OpenPage(path)
	if err != nil {
		panic(err)
	}
	vfs.Default = faultFS{vfs.Default, page}
}

// faultFS is a file system that can be full, and tells how much of each WAL file is synced.
type faultFS struct {
	vfs.FS
	page *Page
}

// Unwrap returns the file system below.
func (f faultFS) Unwrap() vfs.FS { return f.FS }

func (f faultFS) full(op, name string) error {
	if f.page.disk() == DiskFull {
		return &os.PathError{Op: op, Path: name, Err: syscall.ENOSPC}
	}
	return nil
}

// Create fails on a full disk.
func (f faultFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.full("create", name); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name, category)
	return f.wrap(name, file, err)
}

// ReuseForWrite makes an old file a new one: nothing of that is synced.
func (f faultFS) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.full("reuse", name); err != nil {
		return nil, err
	}
	file, err := f.FS.ReuseForWrite(old, name, category)
	return f.wrap(name, file, err)
}

// OpenReadWrite opens a file that can be full.
func (f faultFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	file, err := f.FS.OpenReadWrite(name, category, opts...)
	if err != nil {
		return nil, err
	}
	return &faultFile{File: file, fs: f, name: name}, nil
}

// GetDiskUsage tells of little free space when the disk is full or nearly so.
func (f faultFS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	u, err := f.FS.GetDiskUsage(path)
	if f.page.disk() != DiskFine {
		u.AvailBytes = 1 << 20
		u.UsedBytes = u.TotalBytes - u.AvailBytes
	}
	return u, err
}

func (f faultFS) wrap(name string, file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	w := &faultFile{File: file, fs: f, name: name}
	if number, ok := walNumber(name); ok {
		w.synced = f.page.wal(number)
		atomic.StoreInt64(w.synced, 0)
	}
	return w, nil
}

// faultFile is a file that was opened for writing.
type faultFile struct {
	vfs.File
	fs      faultFS
	name    string
	written atomic.Int64
	synced  *int64 // of a WAL file
}

// Write writes at the end.
func (w *faultFile) Write(b []byte) (int, error) {
	if err := w.fs.full("write", w.name); err != nil {
		return 0, err
	}
	n, err := w.File.Write(b)
	w.written.Add(int64(n))
	return n, err
}

// WriteAt writes anywhere; WAL files are not written so.
func (w *faultFile) WriteAt(b []byte, at int64) (int, error) {
	if err := w.fs.full("write", w.name); err != nil {
		return 0, err
	}
	return w.File.WriteAt(b, at)
}

// sync makes durable what has been written before it, and notes that afterwards.
func (w *faultFile) sync(do func() (full bool, err error)) (bool, error) {
	if err := w.fs.full("sync", w.name); err != nil {
		return false, err
	}
	before := w.written.Load()
	full, err := do()
	if err != nil || !full || w.synced == nil {
		return full, err
	}
	for {
		was := atomic.LoadInt64(w.synced)
		if was >= before || atomic.CompareAndSwapInt64(w.synced, was, before) {
			return full, nil
		}
	}
}

// Sync makes the file durable.
func (w *faultFile) Sync() error {
	_, err := w.sync(func() (bool, error) { return true, w.File.Sync() })
	return err
}

// SyncData makes what is in the file durable.
func (w *faultFile) SyncData() error {
	_, err := w.sync(func() (bool, error) { return true, w.File.SyncData() })
	return err
}

// SyncTo may do so; it counts only where it says so.
func (w *faultFile) SyncTo(length int64) (bool, error) {
	return w.sync(func() (bool, error) { return w.File.SyncTo(length) })
}
