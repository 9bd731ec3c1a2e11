package store

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// pebbleLogger takes what Pebble says. Its Infof lines, some per flush, are
// detail to us.
type pebbleLogger struct{ s *Store }

func (l pebbleLogger) Infof(format string, args ...any) {
	l.s.opts.Logger.Debug("pebble", "message", fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	if l.s.complaints.due() {
		l.s.opts.Logger.Error("pebble", "message", fmt.Sprintf(format, args...))
	}
}

// Fatalf is called by Pebble when a write, a sync or the MANIFEST has failed:
// were it to return, later writes would be acknowledged that never reach the disk.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.s.fatal(fmt.Errorf("store: "+format, args...))
}

// listener reports the events of Pebble that an operator should know of.
func (s *Store) listener() *pebble.EventListener {
	log := s.opts.Logger
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			s.backgroundErrors.Add(1)
			if s.complaints.due() { // Pebble tries again at once, and again
				log.Error("a flush or compaction has failed and is tried again; when the disk is full, free some space",
					"error", err, "failures", s.backgroundErrors.Load())
			}
			if errors.Is(err, pebble.ErrCorruption) && s.opened.Load() {
				s.fatal(s.damage(err))
			}
		},
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			s.damagedFile.CompareAndSwap(nil, &info.Path)
			log.Error("damaged data on disk", "file", info.Path, "error", info.Details)
		},
		DiskSlow: func(info pebble.DiskSlowInfo) {
			s.diskSlow.Add(1)
			log.Warn("slow disk", "file", info.Path, "operation", info.OpType.String(), "took", info.Duration)
		},
		LowDiskSpace: func(info pebble.LowDiskSpaceInfo) {
			log.Warn("little disk space left", "free_bytes", info.AvailBytes, "total_bytes", info.TotalBytes)
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			s.writeStalls.Add(1)
			log.Warn("writes wait for flushes or compactions", "reason", info.Reason)
		},
		WriteStallEnd: func() { log.Info("writes go on") },
		WALCreated: func(info pebble.WALCreateInfo) {
			if info.Err == nil {
				s.witness.created(uint64(info.FileNum))
			}
		},
	}
}

// damage turns an error of Pebble into ErrDamaged and adds the file, where
// Pebble has told it by an event.
func (s *Store) damage(err error) error {
	if file := s.damagedFile.Load(); file != nil {
		return damagedf("file %s: %w", *file, err)
	}
	return damagedf("in %s: %w", s.dir.db, err)
}

// readError wraps an error of a read: damage where Pebble calls it so.
func (s *Store) readError(what string, err error) error {
	if errors.Is(err, pebble.ErrCorruption) || s.damagedFile.Load() != nil {
		err = s.damage(err)
	}
	return fmt.Errorf("store: reading %s: %w", what, err)
}

// limiter lets one thing through a second.
type limiter struct{ last atomic.Int64 }

func (l *limiter) due() bool {
	now, last := time.Now().UnixNano(), l.last.Load()
	return now-last >= int64(time.Second) && l.last.CompareAndSwap(last, now)
}
