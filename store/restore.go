package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
)

const (
	// restoreChunk is the size of the batches in which a snapshot is loaded.
	restoreChunk = 64 << 10
	// restoreSync is how many of them may wait for the disk: a single sync at
	// the end could outlast WriteLimit.
	restoreSync = 128
)

// Restore replaces the state by that of a snapshot, as the one at (index,
// term). In Raft's FSM.Restore those come from Received, and r is what Raft has
// opened; the staged file is then read again and r only drained. Any other
// snapshot, as a backup, is staged first, with the present configuration.
//
// The state is marked invalid (synced), loaded, and marked valid in its last
// write (synced), which also drops a log that neither holds the entry (index,
// term) nor joins a state that was there already: such a log is another's, or
// ends before the snapshot. A crash between
// is repaired by the next Open. An error means that nothing was changed, but
// for ErrRestartRaft, which comes after a restore that has succeeded.
func (s *Store) Restore(r io.Reader, index, term uint64) error {
	at := position{index, term}
	if now, _ := s.Applied(); index < now {
		return fmt.Errorf("store: snapshot at entry %d, state at entry %d: %w", index, now, ErrOldSnapshot)
	}
	if i, t, ok := s.Received(); !ok || (position{i, t}) != at {
		if err := s.stageOther(r, at); err != nil {
			return err
		}
	} else if _, err := io.Copy(io.Discard, r); err != nil {
		return fmt.Errorf("store: reading the snapshot: %w", err)
	}
	got, err := s.readStaged(receivedFile)
	if err != nil {
		return fmt.Errorf("store: restoring a snapshot: %w", err)
	}
	s.state.Lock()
	defer s.state.Unlock()
	m := *s.meta.Load()
	m.valid = false
	s.state.must(s.state.begin().Set(keyValid, stateInvalid, nil))
	s.state.commit(true)
	s.meta.Store(&m)
	conflict, err := s.loadStaged(got)
	if err != nil {
		// The state is half old and half new, here and on disk; a start repairs it.
		s.fatal(fmt.Errorf("store: restoring a snapshot: %w", err))
	}
	if err := s.dropStaged(); err != nil {
		s.opts.Logger.Warn("a snapshot was restored and its file could not be removed; the next start does it", "error", err)
	}
	if conflict {
		return fmt.Errorf("store: %w", ErrRestartRaft)
	}
	return nil
}

// stageOther stages a snapshot that did not come by a sink.
func (s *Store) stageOther(r io.Reader, at position) error {
	k := &sink{s: s, at: at, config: s.meta.Load().config}
	if _, err := io.Copy(k, r); err != nil {
		return errors.Join(fmt.Errorf("store: staging a snapshot: %w", err), k.Cancel())
	}
	return k.Close()
}

// loadStaged loads the staged snapshot over an invalid state. The state's lane
// is locked. conflict: Raft's memory of the log's end is wrong now.
func (s *Store) loadStaged(got *received) (conflict bool, err error) {
	f, _, err := s.openStaged(receivedFile)
	if err != nil {
		return false, err
	}
	defer f.Close()
	b := s.state.begin()
	lower, upper := bounds(prefixState)
	s.state.must(b.DeleteRange(lower, upper, nil))
	chunks := 0
	err = ReadSnapshot(io.NewSectionReader(f, got.offset, got.size), nil, func(w Write) bool {
		s.putState(b, w)
		if b.Len() >= restoreChunk {
			chunks++
			s.state.commit(chunks%restoreSync == 0)
			b = s.state.begin()
		}
		return true
	})
	if err != nil {
		return false, err
	}
	return s.finishRestore(b, &meta{applied: got.at, config: got.config, valid: true}), nil
}

// finishRestore writes the last batch of a restore: rest of the records, meta
// records, and the end of a log that does not go with the snapshot.
func (s *Store) finishRestore(b *pebble.Batch, m *meta) (conflict bool) {
	s.log.Lock()
	defer s.log.Unlock()
	first, last := s.log.first.Load(), s.log.last.Load()
	drop := first != 0 && !s.logAgrees(m.applied)
	if drop {
		s.state.must(b.DeleteRange(logKey(first), logKey(last+1), nil))
	}
	s.putApplied(b, m.applied)
	s.state.must(b.Set(keyConfig, m.config.encode(), nil))
	s.state.must(b.Set(keyValid, stateValid, nil))
	s.state.commit(true)
	if drop {
		s.log.first.Store(0)
		s.log.last.Store(0)
	}
	s.meta.Store(m)
	s.restores.Add(1)
	return drop && last >= m.applied.index
}

// logAgrees says whether the log has the entry at p, or begins behind it: a state
// that was at p before joins it then, and what came since may be acknowledged. Then
// all entries before p are the snapshot's too, and those behind it may be good. If not,
// no entry is of use, and one before p could even be another leader's that was never
// committed: Raft, once leader, would send it to followers as its own.
func (s *Store) logAgrees(p position) bool {
	if !s.log.has(p.index) {
		return s.meta.Load().applied == p && s.log.first.Load() == p.index+1
	}
	var entry raft.Log
	found, err := s.log.get(p.index, &entry)
	return err == nil && found && entry.Term == p.term
}

// checkInterrupted looks whether an interrupted restore can be done again.
func (s *Store) checkInterrupted() error {
	_, err := s.readStaged(receivedFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return damagedf("the state is half restored, and file %s is missing", s.dir.file(receivedFile))
	case err != nil:
		return damagedf("the state is half restored from a snapshot that cannot be read: %w", err)
	}
	return nil
}

// recoverRestore cleans up at a start: it does an interrupted restore again
// and removes a staged snapshot that Raft has not restored (its leader sends
// another when needed).
func (s *Store) recoverRestore() error {
	if err := s.dir.remove(receivedFile + tmpSuffix); err != nil {
		return err
	}
	if s.meta.Load().valid {
		return s.dropStaged()
	}
	got, err := s.readStaged(receivedFile)
	if err != nil {
		return fmt.Errorf("store: restoring a snapshot again: %w", err)
	}
	s.opts.Logger.Warn("a restore was interrupted and is done again", "index", got.at.index, "term", got.at.term)
	s.state.Lock()
	defer s.state.Unlock()
	if _, err := s.loadStaged(got); err != nil {
		return fmt.Errorf("store: restoring a snapshot again: %w", err)
	}
	return s.dropStaged()
}
