package store

import (
	"fmt"
)

// Metrics are numbers of the store, for INFO and the like. Counters count
// since Open; sizes are in bytes.
type Metrics struct {
	DiskBytes     uint64 // all that Pebble has on disk, WAL files included
	WALBytes      uint64 // the WAL files that are in use
	MemTableBytes uint64 // memory of the memtables, full or filling
	CacheBytes    int64  // block cache in use

	LogFirst, LogLast          uint64 // 0: empty log
	AppliedIndex, AppliedTerm  uint64 // newest entry in the state
	ConfigurationIndex         uint64
	Flushes, Compactions       int64
	PendingCompactionBytes     uint64
	BackgroundErrors, DiskSlow int64 // failed flushes and compactions; writes that took over 5 s
	WriteStalls                int64 // times that writes had to wait for a flush or compaction
}

// Metrics returns the numbers of this moment. It takes Pebble's locks: some
// tens of microseconds.
func (s *Store) Metrics() Metrics {
	p := s.db.Metrics()
	m := s.meta.Load()
	return Metrics{
		DiskBytes:     p.DiskSpaceUsage(),
		WALBytes:      p.WAL.PhysicalSize,
		MemTableBytes: p.MemTable.Size + p.MemTable.ZombieSize,
		CacheBytes:    p.BlockCache.Size,

		LogFirst: s.log.first.Load(), LogLast: s.log.last.Load(),
		AppliedIndex: m.applied.index, AppliedTerm: m.applied.term,
		ConfigurationIndex: m.config.index,
		Flushes:            p.Flush.Count, Compactions: p.Compact.Count,
		PendingCompactionBytes: p.Compact.EstimatedDebt,
		BackgroundErrors:       s.backgroundErrors.Load(), DiskSlow: s.diskSlow.Load(),
		WriteStalls: s.writeStalls.Load(),
	}
}

// DiskFree returns the bytes that the file system of the data directory has
// free for us, and its size.
func (s *Store) DiskFree() (free, total uint64, err error) {
	u, err := s.dir.fs.GetDiskUsage(s.dir.path)
	if err != nil {
		return 0, 0, fmt.Errorf("store: asking for the free space of %s: %w", s.dir.path, err)
	}
	return u.AvailBytes, u.TotalBytes, nil
}
