package store

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/hashicorp/raft"
)

// A log entry's value (DESIGN.md, "Log entries"):
//
//	0        1        5      6        14            22           26
//	┌────────┬────────┬──────┬────────┬─────────────┬────────────┬────────────┬──────┐
//	│version │CRC32C  │type  │term    │appended at  │length of   │extensions  │data  │
//	│        │        │      │        │ns, 0 = zero │extensions  │            │      │
//	└────────┴────────┴──────┴────────┴─────────────┴────────────┴────────────┴──────┘
//
// All numbers are big-endian. The sum covers the version, the index (which is
// in the key) and all that follows the sum: an entry under the wrong key is
// found out too.
const (
	entryVersion = 1
	entrySumEnd  = 5
	entryHeader  = 26
)

func entrySize(l *raft.Log) int { return entryHeader + len(l.Extensions) + len(l.Data) }

// putEntry encodes the entry into dst, entrySize bytes.
func putEntry(dst []byte, l *raft.Log) {
	dst[0] = entryVersion
	dst[5] = byte(l.Type)
	binary.BigEndian.PutUint64(dst[6:], l.Term)
	var at int64
	if !l.AppendedAt.IsZero() {
		at = l.AppendedAt.UnixNano()
	}
	binary.BigEndian.PutUint64(dst[14:], uint64(at))
	binary.BigEndian.PutUint32(dst[22:], uint32(len(l.Extensions)))
	n := copy(dst[entryHeader:], l.Extensions)
	copy(dst[entryHeader+n:], l.Data)
	binary.BigEndian.PutUint32(dst[1:], entrySum(l.Index, dst))
}

func entrySum(index uint64, value []byte) uint32 {
	var head [9]byte
	head[0] = value[0]
	binary.BigEndian.PutUint64(head[1:], index)
	sum := crc32.Update(0, castagnoli, head[:])
	return crc32.Update(sum, castagnoli, value[entrySumEnd:])
}

// checkEntry checks the form and the sum of an entry's value.
func checkEntry(index uint64, value []byte) error {
	if len(value) < entryHeader {
		return damagedf("log entry %d has %d bytes", index, len(value))
	}
	if value[0] != entryVersion {
		return damagedf("log entry %d has version %d", index, value[0])
	}
	if sum := binary.BigEndian.Uint32(value[1:]); sum != entrySum(index, value) {
		return damagedf("log entry %d does not match its checksum", index)
	}
	if n := binary.BigEndian.Uint32(value[22:]); uint64(n) > uint64(len(value)-entryHeader) {
		return damagedf("log entry %d has impossible lengths", index)
	}
	return nil
}

// decodeEntry checks value and fills l with copies.
func decodeEntry(index uint64, value []byte, l *raft.Log) error {
	if err := checkEntry(index, value); err != nil {
		return err
	}
	*l = raft.Log{
		Index: index,
		Term:  binary.BigEndian.Uint64(value[6:]),
		Type:  raft.LogType(value[5]),
	}
	if at := int64(binary.BigEndian.Uint64(value[14:])); at != 0 {
		l.AppendedAt = time.Unix(0, at)
	}
	rest := append([]byte(nil), value[entryHeader:]...)
	n := int(binary.BigEndian.Uint32(value[22:]))
	if n > 0 {
		l.Extensions = rest[:n:n]
	}
	if len(rest) > n {
		l.Data = rest[n:]
	}
	return nil
}
