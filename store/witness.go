package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// witness remembers outside of Pebble how far Pebble's files must reach: the
// number of the newest WAL file, and an entry that is in the durable state.
// Pebble misses neither a WAL file that is gone nor the lost end of the newest
// one, for that is what an unfinished write looks like: it would start with the
// newest writes forgotten, acknowledged locks and votes with them.
//
// Both numbers only grow, and are written after what they say has become true:
// in place and without a sync, so a stale witness makes the check weaker and
// never wrong. A failed write of it is no failure for the same reason.
type witness struct {
	mu      sync.Mutex
	dir     *dataDir
	file    vfs.File
	wal     uint64 // newest WAL file; Pebble keeps one numbered so or higher
	applied uint64 // an index that the state had durably reached
	written time.Time
}

// witnessEvery is how often at most the hot path writes the file.
const witnessEvery = 100 * time.Millisecond

// The file's one line: both numbers and the CRC32C of what is before it.
const (
	witnessNumbers = "%020d %020d "
	witnessLen     = 2*21 + 8 + 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func witnessLine(wal, applied uint64) []byte {
	line := fmt.Appendf(nil, witnessNumbers, wal, applied)
	return fmt.Appendf(line, "%08x\n", checksum(line))
}

// read reads the file; numbers that are not there or not whole are 0.
func (w *witness) read() {
	f, err := w.dir.fs.Open(w.dir.file(witnessFile))
	if err != nil {
		return
	}
	defer f.Close()
	line := make([]byte, witnessLen)
	if n, _ := f.ReadAt(line, 0); n < len(line) {
		return
	}
	var wal, applied uint64
	if _, err := fmt.Sscanf(string(line), "%d %d", &wal, &applied); err != nil {
		return
	}
	if string(witnessLine(wal, applied)) == string(line) {
		w.wal, w.applied = wal, applied
	}
}

// checkFiles compares the WAL files with the witness.
func (w *witness) checkFiles() error {
	d := w.dir
	names, err := d.fs.List(d.db)
	if errors.Is(err, fs.ErrNotExist) {
		return damagedf("directory %s is missing", d.db)
	}
	if err != nil {
		return fmt.Errorf("store: %s: %w", d.db, err)
	}
	var newest uint64
	for _, name := range names {
		digits, isWAL := strings.CutSuffix(name, ".log")
		if n, err := strconv.ParseUint(digits, 10, 64); isWAL && err == nil {
			newest = max(newest, n)
		}
	}
	if newest == 0 {
		return damagedf("there is no WAL file (*.log) in %s", d.db)
	}
	if newest < w.wal {
		return damagedf("WAL file %s is missing", w.walFile())
	}
	return nil
}

// checkApplied compares what Pebble has read with the witness.
func (w *witness) checkApplied(applied uint64) error {
	if applied < w.applied {
		return damagedf("the state ends at entry %d and had reached %d: the end of WAL file %s, or of an older one, is lost",
			applied, w.applied, w.walFile())
	}
	return nil
}

func (w *witness) walFile() string {
	return w.dir.fs.PathJoin(w.dir.db, fmt.Sprintf("%06d.log", w.wal))
}

// created is called by Pebble when it has made a WAL file.
func (w *witness) created(wal uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wal = max(w.wal, wal)
	w.write()
}

// durable says that the state at applied is on disk. now says to write that
// even if the last time was a moment ago.
func (w *witness) durable(applied uint64, now bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if applied <= w.applied {
		return
	}
	w.applied = applied
	if now || time.Since(w.written) >= witnessEvery {
		w.write()
	}
}

func (w *witness) write() {
	w.written = time.Now()
	if w.file == nil {
		f, err := w.dir.fs.OpenReadWrite(w.dir.file(witnessFile), vfs.WriteCategoryUnspecified)
		if err != nil {
			return
		}
		w.file = f
	}
	_, _ = w.file.WriteAt(witnessLine(w.wal, w.applied), 0)
}

func (w *witness) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.file != nil {
		_ = w.file.Close()
		w.file = nil
	}
}
