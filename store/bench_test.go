package store

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

func benchOptions(dir string) Options {
	return Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

// BenchmarkStoreLogs appends one entry with a sync, as Raft does for each
// batch of proposals; "memory" is without a disk: what it costs beside the sync.
func BenchmarkStoreLogs(b *testing.B) {
	for _, where := range []string{"disk", "memory"} {
		for _, size := range []int{200, 20_000} {
			b.Run(fmt.Sprintf("%s/%dB", where, size), func(b *testing.B) {
				o := benchOptions(b.TempDir())
				if where == "memory" {
					o.FS = vfs.NewMem()
				}
				s, err := Open(o)
				must(b, err)
				defer closeStore(b, s)
				log := &raft.Log{Term: 1, Data: make([]byte, size)}
				logs := []*raft.Log{log}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					log.Index++
					must(b, s.Log().StoreLogs(logs))
					if log.Index%20_000 == 0 { // as a snapshot would
						must(b, s.Apply(log.Index, 1, nil))
						must(b, s.Log().DeleteRange(1, log.Index-10_000))
					}
				}
			})
		}
	}
}

// BenchmarkApply writes 100 records of the state, not synced.
func BenchmarkApply(b *testing.B) {
	s, err := Open(benchOptions(b.TempDir()))
	must(b, err)
	defer closeStore(b, s)
	writes := make([]Write, 100)
	keys := make([][]byte, 100_000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "hold/some/lock/name/%06d", i)
	}
	value := make([]byte, 60)
	index := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		for i := range writes {
			writes[i] = Write{keys[(int(index)*977+i*31)%len(keys)], value}
			if i%2 == 1 {
				writes[i].Value = nil
			}
		}
		index++
		must(b, s.Apply(index, 1, writes))
	}
}

// BenchmarkGetLog reads entries, as replication to a follower behind does.
func BenchmarkGetLog(b *testing.B) {
	s, err := Open(benchOptions(b.TempDir()))
	must(b, err)
	defer closeStore(b, s)
	fill(b, s, 10_000, 0, 1000)
	var l raft.Log
	i := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		must(b, s.Log().GetLog(1+i%10_000, &l))
		i++
	}
}

// fill gives a store a log and a state.
func fill(b *testing.B, s *Store, logs, records, size int) {
	b.Helper()
	batch := make([]*raft.Log, 0, 1000)
	for i := 1; i <= logs; i++ {
		batch = append(batch, &raft.Log{Index: uint64(i), Term: 1, Data: make([]byte, size)})
		if len(batch) == cap(batch) || i == logs {
			must(b, s.Log().StoreLogs(batch))
			batch = batch[:0]
		}
	}
	writes := make([]Write, 0, 100)
	for i := 0; i < records; i++ {
		writes = append(writes, Write{fmt.Appendf(nil, "hold/some/lock/name/%06d", i), make([]byte, 60)})
		if len(writes) == cap(writes) {
			must(b, s.Apply(uint64(logs-records+i), 1, writes))
			writes = writes[:0]
		}
	}
}

// BenchmarkOpen starts on a million entries and 100,000 records, most of them
// in the WAL still, and reads the state.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s, err := Open(benchOptions(dir))
	must(b, err)
	fill(b, s, 1_000_000, 100_000, 150)
	closeStore(b, s)
	b.ResetTimer()
	for b.Loop() {
		s, err := Open(benchOptions(dir))
		must(b, err)
		n := 0
		must(b, s.State(func(Write) bool { n++; return true }))
		if n != 100_000 {
			b.Fatalf("%d records", n)
		}
		b.StopTimer()
		closeStore(b, s)
		b.StartTimer()
	}
}

// BenchmarkBackup streams 100,000 records.
func BenchmarkBackup(b *testing.B) {
	s, err := Open(benchOptions(b.TempDir()))
	must(b, err)
	defer closeStore(b, s)
	fill(b, s, 100_000, 100_000, 10)
	runtime.GC()
	for b.Loop() {
		backup, err := s.OpenBackup(BackupInfo{})
		must(b, err)
		_, err = io.Copy(io.Discard, backup)
		must(b, errors.Join(err, backup.Close()))
	}
}
