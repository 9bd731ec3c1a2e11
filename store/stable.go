package store

import (
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/internal/canary"
)

// Stable is Raft's store of its term and votes. Every write is synced: a vote
// that is forgotten could be given twice. A missing key is nil or 0 without an
// error, since Raft compares the text of errors.
func (s *Store) Stable() raft.StableStore { return stableStore{s} }

type stableStore struct{ s *Store }

func stableKey(key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)), prefixStable), key...)
}

// Set writes a value.
func (t stableStore) Set(key, value []byte) error {
	t.s.stable.Lock()
	defer t.s.stable.Unlock()
	b := t.s.stable.begin()
	t.s.stable.must(b.Set(stableKey(key), value, nil))
	t.s.stable.commit(!canary.VoteUnsynced) // canary: a vote can be given twice
	return nil
}

// Get reads a value; nil if there is none.
func (t stableStore) Get(key []byte) ([]byte, error) {
	value, err := read(t.s.db, stableKey(key))
	if err != nil {
		return nil, t.s.readError(fmt.Sprintf("stable record %q", key), err)
	}
	return value, nil
}

// SetUint64 writes a number, 8 bytes big-endian.
func (t stableStore) SetUint64(key []byte, value uint64) error {
	return t.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 reads a number; 0 if there is none.
func (t stableStore) GetUint64(key []byte) (uint64, error) {
	value, err := t.Get(key)
	if err != nil || value == nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, damagedf("stable record %q has %d bytes, not the 8 of a number", key, len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}
