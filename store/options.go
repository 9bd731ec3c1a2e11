package store

import (
	"fmt"
	"log/slog"
	"os"
	"runtime/pprof"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Defaults of Options.
const (
	// DefaultMemTableBytes is small because memtables are plain memory: under
	// load Pebble holds up to three and one for reuse, and in a binary without
	// cgo they are on Go's heap, which then grows by twice that. What larger
	// ones bring is in DESIGN.md, "Memory".
	DefaultMemTableBytes = 8 << 20
	// DefaultCacheBytes is small because the state is in memory, in the
	// machine: only starts, snapshots and lagging followers read blocks.
	DefaultCacheBytes = 4 << 20
	// DefaultWriteLimit is how long a write may take.
	DefaultWriteLimit = 10 * time.Second
)

// ExitFatal is the exit code of the default OnFatal: EX_TEMPFAIL, "try again",
// because a supervisor should start the process anew.
const ExitFatal = 75

// maxOpenFiles bounds the descriptors of Pebble's table cache; the database is
// a few hundred MB of 2 to 64 MB files.
const maxOpenFiles = 128

// formatVersion pins Pebble's format: from FormatWALSyncChunks on a damaged
// piece in the middle of a WAL can be told from its unfinished end. It is
// raised on purpose only, since an older redlockd cannot open a newer format.
const formatVersion = pebble.FormatWALSyncChunks

// Options are what Open needs.
type Options struct {
	// Dir is the data directory. It is made if it does not exist; a directory
	// with foreign files in it is refused.
	Dir string
	// FS is the file system; nil is the machine's own, watched for slow disks.
	FS vfs.FS
	// Logger takes what is worth knowing; nil is slog.Default().
	Logger *slog.Logger
	// CacheBytes is the size of the block cache, 0 is DefaultCacheBytes.
	CacheBytes int64
	// MemTableBytes is the size of a full memtable, 0 is DefaultMemTableBytes;
	// at least 64 KiB.
	MemTableBytes int64
	// OnFatal is called when a write or sync has failed or hung, or when data
	// that was read is damaged: the process must end without another write.
	// It must not return; if it does, the caller panics. nil logs the error and
	// all goroutines and calls os.Exit(ExitFatal).
	OnFatal func(err error)
	// WriteLimit is how long a write may take before it is fatal: a leader
	// with a hung disk would stay leader for ever (hashicorp/raft#503).
	// 0 is DefaultWriteLimit.
	WriteLimit time.Duration
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, fmt.Errorf("store: no data directory given")
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = DefaultMemTableBytes
	}
	if o.MemTableBytes < 64<<10 {
		return o, fmt.Errorf("store: MemTableBytes is %d, at least %d is needed", o.MemTableBytes, 64<<10)
	}
	if o.WriteLimit == 0 {
		o.WriteLimit = DefaultWriteLimit
	}
	if o.OnFatal == nil {
		logger := o.Logger
		o.OnFatal = func(err error) { exit(logger, err) }
	}
	return o, nil
}

// exit is the default OnFatal.
func exit(logger *slog.Logger, err error) {
	logger.Error("the store cannot go on, the process ends", "error", err)
	if p := pprof.Lookup("goroutine"); p != nil {
		_ = p.WriteTo(os.Stderr, 1)
	}
	os.Exit(ExitFatal)
}

// pebbleOptions are the options of the one database.
func (s *Store) pebbleOptions(readOnly bool) *pebble.Options {
	o := &pebble.Options{
		FS:                 pebbleFS{s.dir.fs, s},
		FormatMajorVersion: formatVersion,
		CacheSize:          s.opts.CacheBytes,
		MemTableSize:       uint64(s.opts.MemTableBytes),
		// One more than the default, so that a flush held up by a slow disk
		// does not stop log writes at once.
		MemTableStopWritesThreshold: 3,
		MaxOpenFiles:                maxOpenFiles,
		L0StopWritesThreshold:       48, // many tables cost reads, and we hardly read
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		// Cutting the log deletes a range; without this its space would come
		// back only when the memtable happens to be full.
		FlushDelayDeleteRange: 10 * time.Second,
		Logger:                pebbleLogger{s},
		EventListener:         s.listener(),
		ErrorIfExists:         s.dir.fresh,
		ErrorIfNotExists:      !s.dir.fresh,
		ReadOnly:              readOnly,
	}
	o.Experimental.CompactionScheduler = s.compactions
	if s.opts.FS == nil {
		o.WithFSDefaults()
	}
	return o
}
