package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The files of a data directory.
const (
	markerFile   = "REDLOCKD"
	lockFile     = "LOCK"
	dbDir        = "db"
	witnessFile  = "witness"
	receivedFile = "received.snapshot"
	tmpSuffix    = ".tmp"
)

// The first line of the marker: format 1, and whether the database was made.
const (
	markerCreating = "redlockd data, format 1, being created\n"
	markerSeeding  = "redlockd data, format 1, being restored from a backup\n"
	markerReady    = "redlockd data, format 1\n"
	markerPrefix   = "redlockd data, format "
	markerNote     = "This file tells redlockd that the directory is its own. Do not remove or change it.\n"
)

// dataDir is the data directory, locked.
type dataDir struct {
	fs       vfs.FS
	path, db string
	lock     io.Closer
	fresh    bool // there has never been a database
	// making is what the marker says while the database is being made.
	making string
}

// openDir makes or checks and then locks the data directory. Nothing is
// written into a directory that is not ours. making is markerCreating for a
// start, or markerSeeding: then the directory must not be in use yet.
func openDir(o Options, making string) (*dataDir, error) {
	d := &dataDir{fs: o.FS, path: o.Dir, making: making}
	if d.fs == nil {
		d.fs = vfs.Default
		// The lock is known by its name within a process: make it one name.
		abs, err := filepath.Abs(o.Dir)
		if err != nil {
			return nil, fmt.Errorf("store: data directory %s: %w", o.Dir, err)
		}
		d.path = abs
	}
	d.db = d.file(dbDir)
	if err := d.make(); err != nil {
		return nil, err
	}
	// Once before the lock file is made, and again when nobody else can write.
	if _, err := d.state(); err != nil {
		return nil, err
	}
	if err := d.acquire(); err != nil {
		return nil, err
	}
	marker, err := d.state()
	switch {
	case err != nil:
	case marker != markerReady:
		err = d.startOver(marker)
	case making == markerSeeding:
		err = fmt.Errorf("store: %s: %w: give an empty directory, or remove this one if nobody needs it", d.path, ErrNotEmpty)
	}
	if err != nil {
		_ = d.lock.Close()
		return nil, err
	}
	return d, nil
}

func (d *dataDir) file(name string) string { return d.fs.PathJoin(d.path, name) }

// make makes the directory where it is missing.
func (d *dataDir) make() error {
	info, err := d.fs.Stat(d.path)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("store: %s is a file, a directory is needed", d.path)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("store: data directory %s: %w", d.path, err)
	}
	above := d.above()
	if err := d.fs.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("store: making the data directory %s: %w", d.path, err)
	}
	for _, path := range above {
		if err := d.sync(path); err != nil {
			return fmt.Errorf("store: making the data directory %s: %w", d.path, err)
		}
	}
	return nil
}

// above lists the directories that get a new name when the data directory is made: the
// one above it, and where that is missing, those above that. A name that is lost takes
// all below it along, and the node would come back as one that has never voted.
func (d *dataDir) above() (paths []string) {
	for path := d.path; ; path = paths[len(paths)-1] {
		parent := d.fs.PathDir(path)
		paths = append(paths, parent)
		if _, err := d.fs.Stat(parent); parent == path || !errors.Is(err, fs.ErrNotExist) {
			return paths
		}
	}
}

// acquire takes the lock of the directory.
func (d *dataDir) acquire() error {
	lock, err := d.fs.Lock(d.file(lockFile))
	var errno syscall.Errno
	switch {
	case err == nil:
		d.lock = lock
		return nil
	case errors.As(err, &errno) && errno != syscall.EAGAIN:
		return fmt.Errorf("store: locking %s: %w", d.file(lockFile), err)
	default:
		return fmt.Errorf("store: %s: %w: stop that one first, or give this one another directory (%w)",
			d.path, ErrInUse, err)
	}
}

// state reads the marker: one of those above, or "" for a directory without any
// file of ours or of others. A half restored backup is for SeedDir alone.
func (d *dataDir) state() (string, error) {
	names, err := d.fs.List(d.path)
	if err != nil {
		return "", fmt.Errorf("store: data directory %s: %w", d.path, err)
	}
	marked := false
	foreign := ""
	for _, name := range names {
		switch name {
		case markerFile:
			marked = true
		case lockFile, markerFile + tmpSuffix, "lost+found": // the last is in every fresh ext4
		default:
			foreign = name
		}
	}
	switch {
	case marked:
		return d.readMarker()
	case foreign == dbDir || foreign == witnessFile || foreign == receivedFile:
		return "", damagedf("%s is missing, though %s is there", d.file(markerFile), d.file(foreign))
	case foreign != "":
		return "", fmt.Errorf("store: %s: %w: it holds %s and has no file %s; give an empty directory or one that redlockd made",
			d.path, ErrForeign, foreign, markerFile)
	}
	return "", nil
}

func (d *dataDir) readMarker() (string, error) {
	name := d.file(markerFile)
	f, err := d.fs.Open(name)
	if err != nil {
		return "", fmt.Errorf("store: %s: %w", name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", fmt.Errorf("store: %s: %w", name, err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	switch line += "\n"; {
	case line == markerSeeding && d.making != markerSeeding:
		return "", fmt.Errorf("store: %s: %w: restore it again, into this directory or another", d.path, ErrUnfinished)
	case line == markerReady || line == markerCreating || line == markerSeeding:
		return line, nil
	case strings.HasPrefix(line, markerPrefix) && len(line) < 64:
		return "", fmt.Errorf("store: %s says %q: %w: start that version", name, strings.TrimSpace(line), ErrNewer)
	}
	return "", damagedf("file %s does not say what it should (it starts with %.40q)", name, line)
}

// startOver prepares the first start. One that was cut short before the marker
// was ready has acknowledged nothing: what it left is removed.
func (d *dataDir) startOver(marker string) error {
	d.fresh = true
	if marker != "" {
		for _, name := range []string{dbDir, witnessFile, receivedFile} {
			if err := d.fs.RemoveAll(d.file(name)); err != nil {
				return fmt.Errorf("store: removing what an unfinished first start has left: %w", err)
			}
		}
		if err := d.sync(d.path); err != nil || marker == d.making {
			return err
		}
	}
	return d.writeMarker(d.making)
}

// ready ends the first start: from now on a missing database is damage. A seed
// is not ready yet.
func (d *dataDir) ready() error {
	if !d.fresh || d.making == markerSeeding {
		return nil
	}
	return d.writeMarker(markerReady)
}

func (d *dataDir) writeMarker(line string) error {
	return d.replace(markerFile, func(w io.Writer) error {
		_, err := io.WriteString(w, line+markerNote)
		return err
	})
}

// replace writes a file as a whole: after a crash the old one is there or the new one.
func (d *dataDir) replace(name string, write func(io.Writer) error) (err error) {
	tmp := d.file(name + tmpSuffix)
	defer func() {
		if err != nil {
			err = fmt.Errorf("store: writing %s: %w", d.file(name), err)
		}
	}()
	f, err := d.fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := d.fs.Rename(tmp, d.file(name)); err != nil {
		return err
	}
	return d.sync(d.path)
}

// remove removes a file that may be missing, durably.
func (d *dataDir) remove(name string) error {
	if err := d.fs.Remove(d.file(name)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("store: %w", err)
	}
	return d.sync(d.path)
}

// sync makes the names in a directory durable.
func (d *dataDir) sync(path string) error {
	f, err := d.fs.OpenDir(path)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}
