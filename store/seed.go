package store

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// Seed is what a new data directory starts with: the state after entry Index of
// term Term, in a cluster of Configuration.
type Seed struct {
	Index, Term   uint64
	Configuration raft.Configuration
	// Stable are records of the stable store besides Raft's own.
	Stable map[string]string
	// Records yields the records of the state. Its error ends SeedDir.
	Records func(yield func(Write)) error
}

// The stable key of Raft's term. A node that started with a lower one than its
// snapshot's would give entries terms that lie before it.
var keyCurrentTerm = []byte("CurrentTerm")

// SeedDir makes the data directory Options.Dir with the state of a seed, and
// closes it: Raft finds a snapshot there and nothing else. The directory must be
// missing or empty, or one that an earlier SeedDir has left unfinished, which
// Open refuses. It is whole only when SeedDir has returned without an error.
//
// The errors are those of Open, ErrNotEmpty, or that of Records.
func SeedDir(o Options, seed Seed) error {
	o, err := o.withDefaults()
	if err != nil {
		return err
	}
	if seed.Index == 0 || len(seed.Configuration.Servers) == 0 {
		return errors.New("store: a seed needs an index and a configuration")
	}
	dir, err := openDir(o, markerSeeding)
	if err != nil {
		return err
	}
	s := &Store{opts: o, dir: dir, witness: witness{dir: dir}}
	s.log.s = s
	if err = s.open(); err != nil {
		s.witness.close()
		return errors.Join(err, dir.lock.Close())
	}
	s.opened.Store(true)
	s.compactions.release()
	err = s.sow(seed)
	if err == nil {
		err = dir.writeMarker(markerReady)
	}
	return errors.Join(err, s.Close())
}

// sow writes the seed into a new store; when it returns, all is on disk.
func (s *Store) sow(seed Seed) error {
	for key, value := range seed.Stable {
		if err := s.Stable().Set([]byte(key), []byte(value)); err != nil {
			return err
		}
	}
	if err := s.Stable().SetUint64(keyCurrentTerm, seed.Term); err != nil {
		return err
	}
	s.state.Lock()
	defer s.state.Unlock()
	b := s.state.begin()
	chunks := 0
	err := seed.Records(func(w Write) {
		s.putState(b, w)
		if b.Len() >= restoreChunk {
			chunks++
			s.state.commit(chunks%restoreSync == 0)
			b = s.state.begin()
		}
	})
	if err != nil {
		return fmt.Errorf("store: making %s: %w", s.dir.path, err)
	}
	m := &meta{
		applied: position{seed.Index, seed.Term}, valid: true,
		// As Raft's own recovery has it: no entry of this cluster is older.
		config: configuration{1, seed.Configuration.Clone()},
	}
	s.putApplied(b, m.applied)
	s.state.must(b.Set(keyConfig, m.config.encode(), nil))
	s.state.commit(true)
	s.meta.Store(m)
	return nil
}
