package fsm

import "encoding/binary"

// The first byte of a record's key says what it describes.
const (
	kindMeta     = 'm'
	kindSettings = 'c'
	kindNode     = 'n'
	kindConn     = 'C'
	kindSession  = 'S'
	kindLock     = 'L'
	kindWait     = 'W'
	kindMemo     = 'I'
	kindNotice   = 'N'
	kindTomb     = 'D'
)

// recordVersion is the first byte of every record's value.
const recordVersion = 1

// rec is the part of every object that is kept as one record.
type rec struct {
	dirty bool   // is on the dirty list
	gone  bool   // to be deleted at the end of this entry
	kept  bool   // the store has it
	sum   uint64 // its share of the hash, while kept
}

// object is something that the state keeps as one record.
type object interface {
	record() *rec
	appendKey(dst []byte) []byte
	appendValue(dst []byte) []byte
	// forget takes a gone object out of the machine's maps.
	forget(m *Machine)
}

func (r *rec) record() *rec { return r }

// touch notes that the object's record must be written at the end of the entry.
func (m *Machine) touch(o object) {
	r := o.record()
	if !r.dirty {
		r.dirty = true
		m.dirty = append(m.dirty, o)
	}
}

// drop notes that the object's record must go.
func (m *Machine) drop(o object) {
	o.record().gone = true
	m.touch(o)
}

// flush turns the dirty list into writes and moves the hash along. Objects that
// came and went since the last flush leave nothing.
func (m *Machine) flush() {
	m.eff.Flushed = true
	m.touch(&m.meta)
	for i, o := range m.dirty {
		m.dirty[i] = nil
		r := o.record()
		r.dirty = false
		if r.kept {
			m.hash -= r.sum
		}
		if r.gone {
			o.forget(m)
			if r.kept {
				r.kept = false
				start := len(m.arena)
				m.arena = o.appendKey(m.arena)
				m.eff.Writes = append(m.eff.Writes, Record{Key: m.arena[start:len(m.arena):len(m.arena)]})
			}
			continue
		}
		start := len(m.arena)
		m.arena = o.appendKey(m.arena)
		mid := len(m.arena)
		m.arena = append(m.arena, recordVersion)
		m.arena = o.appendValue(m.arena)
		w := Record{Key: m.arena[start:mid:mid], Value: m.arena[mid:len(m.arena):len(m.arena)]}
		r.kept, r.sum = true, sum(w)
		m.hash += r.sum
		m.eff.Writes = append(m.eff.Writes, w)
	}
	m.dirty = m.dirty[:0]
}

// sum is a record's share of the state hash: FNV-1a over key and value, mixed,
// because the shares are added up.
func sum(r Record) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for _, c := range r.Key {
		h = (h ^ uint64(c)) * prime
	}
	h = (h ^ uint64(len(r.Key))) * prime
	for _, c := range r.Value {
		h = (h ^ uint64(c)) * prime
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return h
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendInts(dst []byte, vs ...int64) []byte {
	for _, v := range vs {
		dst = binary.AppendVarint(dst, v)
	}
	return dst
}

func appendUints(dst []byte, vs ...uint64) []byte {
	for _, v := range vs {
		dst = binary.AppendUvarint(dst, v)
	}
	return dst
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// appendID appends a key made of a kind and a number, ascending with the number.
func appendID(dst []byte, kind byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, kind), n)
}
