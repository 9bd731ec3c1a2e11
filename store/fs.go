package store

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// pebbleFS is the file system that Pebble sees. It mends two habits:
//
// Pebble creates a new MANIFEST, then the marker file with its name, and syncs
// the directory once, after both. A file system that does not keep the order of
// names could keep the marker and lose the MANIFEST (our crash tests do that;
// ext4 and xfs keep it). So the directory is synced before a marker, too. That
// costs nothing to speak of: markers move when a store is opened and when a
// MANIFEST has become large.
//
// Where Pebble cannot close or make a WAL file it panics with a lock released
// that it then releases again: the process would end with an error of the Go
// runtime and not by OnFatal. So such a failure is fatal here, before.
type pebbleFS struct {
	vfs.FS
	s *Store
}

// Unwrap returns the file system below.
func (p pebbleFS) Unwrap() vfs.FS { return p.FS }

// failed ends the process, once the store is open; till then Open answers.
func (p pebbleFS) failed(what, name string, err error) {
	if err != nil && p.s.opened.Load() {
		p.s.fatal(fmt.Errorf("store: %s %s: %w", what, name, err))
	}
}

func isWAL(name string) bool { return strings.HasSuffix(name, ".log") }

// Create creates a file; a marker only after the names made before are durable.
func (p pebbleFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(p.PathBase(name), "marker.") {
		dir, err := p.FS.OpenDir(p.PathDir(name))
		if err != nil {
			return nil, err
		}
		if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
			return nil, err
		}
	}
	f, err := p.FS.Create(name, category)
	return p.wrap("creating", name, f, err)
}

// ReuseForWrite makes an old file a new one.
func (p pebbleFS) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := p.FS.ReuseForWrite(old, name, category)
	return p.wrap("creating", name, f, err)
}

func (p pebbleFS) wrap(what, name string, f vfs.File, err error) (vfs.File, error) {
	if !isWAL(name) {
		return f, err
	}
	p.failed(what, name, err)
	if err != nil {
		return nil, err
	}
	return &walHandle{File: f, fs: p, name: name}, nil
}

// OpenDir opens a directory, to sync it.
func (p pebbleFS) OpenDir(name string) (vfs.File, error) {
	f, err := p.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return dirHandle{f, p, name}, nil
}

// dirHandle is a directory whose sync must not fail.
type dirHandle struct {
	vfs.File
	fs   pebbleFS
	name string
}

func (d dirHandle) Sync() error {
	err := d.File.Sync()
	d.fs.failed("syncing", d.name, err)
	return err
}

// walHandle is a WAL file that must not be used, not even closed, after a
// failure. The failure itself is reported by Pebble, in the goroutine that
// waits for the write.
type walHandle struct {
	vfs.File
	fs     pebbleFS
	name   string
	broken atomic.Pointer[error]
}

// use is called before an operation, note with its outcome.
func (w *walHandle) use() {
	if broken := w.broken.Load(); broken != nil {
		w.fs.failed("writing", w.name, *broken)
	}
}

func (w *walHandle) note(err error) error {
	if err != nil {
		w.broken.CompareAndSwap(nil, &err)
	}
	return err
}

func (w *walHandle) Write(b []byte) (int, error) {
	w.use()
	n, err := w.File.Write(b)
	return n, w.note(err)
}

func (w *walHandle) Sync() error {
	w.use()
	return w.note(w.File.Sync())
}

func (w *walHandle) SyncData() error {
	w.use()
	return w.note(w.File.SyncData())
}

func (w *walHandle) SyncTo(length int64) (full bool, err error) {
	w.use()
	full, err = w.File.SyncTo(length)
	return full, w.note(err)
}

func (w *walHandle) Close() error {
	w.use()
	err := w.File.Close()
	w.fs.failed("closing", w.name, err)
	return err
}
