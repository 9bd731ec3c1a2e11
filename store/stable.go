package store

import (
	"bytes"
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

// Raft's keys of a vote.
var (
	keyVoteTerm      = []byte("LastVoteTerm")
	keyVoteCandidate = []byte("LastVoteCand")
)

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
//
// Raft 1.8 writes a vote in two steps, the term and then the candidate
// (hashicorp/raft #661). A crash between them would leave the new term with the
// candidate of an older vote, who would then be given the vote of the new term
// unseen, however old its log. So the term takes the older candidate away.
func (t stableStore) SetUint64(key []byte, value uint64) error {
	number := binary.BigEndian.AppendUint64(nil, value)
	if canary.VoteHalves || !bytes.Equal(key, keyVoteTerm) { // canary: a vote that nobody has weighed
		return t.Set(key, number)
	}
	t.s.stable.Lock()
	defer t.s.stable.Unlock()
	b := t.s.stable.begin()
	t.s.stable.must(b.Delete(stableKey(keyVoteCandidate), nil))
	t.s.stable.must(b.Set(stableKey(key), number, nil))
	t.s.stable.commit(!canary.VoteUnsynced)
	return nil
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
