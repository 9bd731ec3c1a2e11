package store

import (
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/raft"
)

// Every key starts with one of these bytes (DESIGN.md, "Keys and values").
const (
	prefixState  = 'f'
	prefixLog    = 'l'
	prefixMeta   = 'm'
	prefixStable = 's'
)

// The keys of the meta records.
var (
	keyFormat  = []byte("mformat")  // version of this layout, written once
	keyApplied = []byte("mapplied") // index and term of the newest entry in the state
	keyConfig  = []byte("mconfig")  // newest committed configuration and its index
	keyValid   = []byte("mvalid")   // whether the state is whole
)

// recordVersion starts every value but those of stable and state records,
// which belong to others.
const recordVersion = 1

const logKeyLen = 1 + 8

// putLogKey writes the key of the log entry at index into dst, logKeyLen bytes.
func putLogKey(dst []byte, index uint64) {
	dst[0] = prefixLog
	binary.BigEndian.PutUint64(dst[1:], index)
}

// logKey returns the key of the log entry at index.
func logKey(index uint64) []byte {
	key := make([]byte, logKeyLen)
	putLogKey(key, index)
	return key
}

// logIndex returns the index in a log key.
func logIndex(key []byte) (uint64, error) {
	if len(key) != logKeyLen || key[0] != prefixLog {
		return 0, damagedf("log key %x has not the form of one", key)
	}
	return binary.BigEndian.Uint64(key[1:]), nil
}

// bounds returns the smallest key with the prefix and the smallest behind all of them.
func bounds(prefix byte) (lower, upper []byte) {
	return []byte{prefix}, []byte{prefix + 1}
}

// position is an index of the log with its term.
type position struct{ index, term uint64 }

func (p position) encode() []byte {
	b := []byte{recordVersion}
	b = binary.BigEndian.AppendUint64(b, p.index)
	return binary.BigEndian.AppendUint64(b, p.term)
}

func decodePosition(b []byte) (position, error) {
	if len(b) != 17 || b[0] != recordVersion {
		return position{}, damagedf("meta record %s is %x", keyApplied, b)
	}
	return position{binary.BigEndian.Uint64(b[1:]), binary.BigEndian.Uint64(b[9:])}, nil
}

// configuration is a cluster's configuration with the index of its entry;
// index 0 is none.
type configuration struct {
	index uint64
	conf  raft.Configuration
}

func (c configuration) encode() []byte {
	b := []byte{recordVersion}
	b = binary.BigEndian.AppendUint64(b, c.index)
	return append(b, raft.EncodeConfiguration(c.conf)...)
}

func decodeConfiguration(b []byte) (configuration, error) {
	if len(b) < 9 || b[0] != recordVersion {
		return configuration{}, damagedf("meta record %s is %x", keyConfig, b)
	}
	conf, err := decodeRaftConfiguration(b[9:])
	if err != nil {
		return configuration{}, damagedf("meta record %s: %v", keyConfig, err)
	}
	return configuration{binary.BigEndian.Uint64(b[1:]), conf}, nil
}

// decodeRaftConfiguration is raft.DecodeConfiguration, which panics on garbage,
// with an error instead.
func decodeRaftConfiguration(b []byte) (conf raft.Configuration, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("not a configuration: %v", r)
		}
	}()
	return raft.DecodeConfiguration(b), nil
}

// The values of keyValid and keyFormat.
var (
	stateValid   = []byte{recordVersion, 1}
	stateInvalid = []byte{recordVersion, 0}
	layoutOne    = []byte{recordVersion}
)
