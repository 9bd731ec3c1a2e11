package fsm

import (
	"encoding/binary"
	"errors"
)

// entryVersion is the first byte of every encoded entry.
const entryVersion = 1

// Bounds of what a decoder accepts, far above what a node ever sends, so that a
// damaged length can not make it allocate.
const (
	maxField    = 1 << 16
	maxContacts = 1 << 20
)

var errShort = errors.New("fsm: record ends too early")

// The presence bits of an op's optional fields, in the order of encoding.
const (
	hasKey = 1 << iota
	hasOwner
	hasID
	hasNote
	hasName
	hasValue
	hasLease
	hasTimeout
	hasFence
	hasCount
	hasTarget
	hasAll = 1<<iota - 1
)

// The bits of a keepalive's flags. The second one is younger than logs are.
const (
	keepaliveFull = 1 << iota
	keepaliveSeen
	keepaliveAll = 1<<iota - 1
)

// AppendEntry appends the encoding of an entry made of keepalives and already
// encoded items (AppendRegister, AppendBatch) to dst. time is in ms of cluster time.
func AppendEntry(dst []byte, time int64, keepalives []Keepalive, items ...[]byte) []byte {
	dst = append(dst, entryVersion)
	dst = binary.AppendUvarint(dst, uint64(time))
	dst = binary.AppendUvarint(dst, uint64(len(keepalives)))
	for i := range keepalives {
		dst = appendKeepalive(dst, &keepalives[i])
	}
	for _, item := range items {
		dst = append(dst, item...)
	}
	return dst
}

func appendKeepalive(dst []byte, k *Keepalive) []byte {
	dst = binary.AppendUvarint(dst, uint64(k.Incarnation))
	dst = binary.AppendUvarint(dst, k.Number)
	flags := byte(0)
	if k.DiskFull {
		flags |= keepaliveFull
	}
	if k.Seen != 0 {
		flags |= keepaliveSeen
	}
	dst = append(dst, flags)
	if k.Seen != 0 {
		dst = binary.AppendUvarint(dst, uint64(k.Seen))
	}
	dst = binary.AppendUvarint(dst, k.HashIndex)
	dst = binary.LittleEndian.AppendUint64(dst, k.Hash)
	dst = binary.AppendUvarint(dst, uint64(len(k.Contacts)))
	for _, s := range k.Contacts {
		dst = binary.AppendUvarint(dst, uint64(s))
	}
	return dst
}

// appendItem frames a payload written by fill: kind, four bytes of length, payload.
func appendItem(dst []byte, kind ItemKind, fill func(dst []byte) []byte) []byte {
	dst = append(dst, byte(kind), 0, 0, 0, 0)
	start := len(dst)
	dst = fill(dst)
	binary.LittleEndian.PutUint32(dst[start-4:], uint32(len(dst)-start))
	return dst
}

// AppendRegister appends the encoding of a registration item.
func AppendRegister(dst []byte, r *Register) []byte {
	return appendItem(dst, ItemRegister, func(dst []byte) []byte {
		dst = appendBytes(dst, []byte(r.Node))
		dst = binary.AppendUvarint(dst, uint64(r.Replaces))
		dst = append(dst, r.Nonce[:]...)
		if r.Disk == "" && r.Announce == "" {
			return dst
		}
		return appendString(appendString(dst, r.Disk), r.Announce)
	})
}

// AppendRemove appends the encoding of the removal of a node.
func AppendRemove(dst []byte, node string) []byte {
	return appendItem(dst, ItemRemove, func(dst []byte) []byte { return appendString(dst, node) })
}

// AppendBatch appends the encoding of a batch item. The ops' bytes are copied.
func AppendBatch(dst []byte, inc Incarnation, number uint64, ops []*Op) []byte {
	return appendItem(dst, ItemBatch, func(dst []byte) []byte {
		dst = binary.AppendUvarint(dst, uint64(inc))
		dst = binary.AppendUvarint(dst, number)
		dst = binary.AppendUvarint(dst, uint64(len(ops)))
		for _, o := range ops {
			dst = appendOp(dst, o)
		}
		return dst
	})
}

func appendOp(dst []byte, o *Op) []byte {
	dst = append(dst, byte(o.Code), byte(o.Flags))
	dst = binary.AppendUvarint(dst, uint64(o.Conn.Number()))
	dst = binary.AppendUvarint(dst, o.Seq)
	at := len(dst)
	dst = append(dst, 0, 0)
	var mask uint16
	for i, b := range [...][]byte{o.Key, o.Owner, o.ID, o.Note, o.Name, o.Value} {
		if len(b) > 0 {
			mask |= hasKey << i
			dst = appendBytes(dst, b)
		}
	}
	for i, v := range [...]int64{o.Lease, o.Timeout, int64(o.Fence), o.Count, int64(o.Target)} {
		if v != 0 {
			mask |= hasLease << i
			dst = binary.AppendVarint(dst, v)
		}
	}
	binary.LittleEndian.PutUint16(dst[at:], mask)
	return dst
}

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}
