package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
)

// Write is one record of the state; a nil Value deletes it. An empty Value that
// is not nil is a record.
type Write struct{ Key, Value []byte }

// Applied returns the index and term of the newest entry in the state. After
// Open that is what is on disk.
func (s *Store) Applied() (index, term uint64) {
	p := s.meta.Load().applied
	return p.index, p.term
}

// Configuration returns the newest committed configuration that was given to
// SetConfiguration or came with a snapshot, and its index; 0 if there is none.
func (s *Store) Configuration() (raft.Configuration, uint64) {
	c := s.meta.Load().config
	return c.conf.Clone(), c.index
}

// Apply writes what the entry (index, term) changed, and that it is applied,
// in one batch that is not synced: the entry itself is on disk, and any later
// synced write takes the batch along. The writes' bytes are copied.
//
// An entry at or below the applied index must bring no writes; then nothing is
// done. Else the error is a bug of the caller.
func (s *Store) Apply(index, term uint64, writes []Write) error {
	s.state.Lock()
	defer s.state.Unlock()
	m := *s.meta.Load()
	if index <= m.applied.index {
		if len(writes) > 0 {
			return fmt.Errorf("store: entry %d brings %d writes, but the state is at entry %d already", index, len(writes), m.applied.index)
		}
		return nil
	}
	m.applied = position{index, term}
	b := s.state.begin()
	for _, w := range writes {
		s.putState(b, w)
	}
	s.putApplied(b, m.applied)
	s.state.commit(false)
	s.meta.Store(&m)
	return nil
}

// putState adds one record of the state to a batch.
func (s *Store) putState(b *pebble.Batch, w Write) {
	if w.Value == nil {
		del := b.DeleteDeferred(1 + len(w.Key))
		del.Key[0] = prefixState
		copy(del.Key[1:], w.Key)
		s.state.must(del.Finish())
		return
	}
	put := b.SetDeferred(1+len(w.Key), len(w.Value))
	put.Key[0] = prefixState
	copy(put.Key[1:], w.Key)
	copy(put.Value, w.Value)
	s.state.must(put.Finish())
}

func (s *Store) putApplied(b *pebble.Batch, p position) {
	s.state.must(b.Set(keyApplied, p.encode(), nil))
}

// SetConfiguration keeps the configuration of the committed entry at index for
// the snapshots; not synced, as Apply. It is meant for Raft's
// ConfigurationStore.
//
// The applied index stays: entries before this one may have been applied in
// memory with their writes still to come, and a store that claimed them would
// not get them again after a crash. So a snapshot's configuration can be newer
// than its index; it is committed, and Raft finds its entry again in the log.
func (s *Store) SetConfiguration(index uint64, conf raft.Configuration) {
	s.state.Lock()
	defer s.state.Unlock()
	m := *s.meta.Load()
	m.config = configuration{index, conf.Clone()}
	s.state.must(s.state.begin().Set(keyConfig, m.config.encode(), nil))
	s.state.commit(false)
	s.meta.Store(&m)
}

// State yields every record of the state, keys ascending, until yield returns
// false. A Write's bytes are valid during the call only.
func (s *Store) State(yield func(Write) bool) (err error) {
	if !s.meta.Load().valid {
		return fmt.Errorf("store: the state is being restored")
	}
	lower, upper := bounds(prefixState)
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return s.readError("the state", err)
	}
	defer func() {
		if cerr := iter.Close(); err == nil && cerr != nil {
			err = s.readError("the state", cerr)
		}
	}()
	for ok := iter.First(); ok; ok = iter.Next() {
		value, err := iter.ValueAndErr()
		if err != nil {
			return s.readError("the state", err)
		}
		if value == nil {
			value = []byte{} // nil would mean deleted
		}
		if !yield(Write{iter.Key()[1:], value}) {
			return nil
		}
	}
	if err := iter.Error(); err != nil {
		return s.readError("the state", err)
	}
	return nil
}
