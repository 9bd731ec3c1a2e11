package store

import (
	"errors"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// stateReader streams the state out of a Pebble snapshot. Records, index, term
// and configuration are of one moment, and applying goes on meanwhile.
type stateReader struct {
	s      *Store
	snap   *pebble.Snapshot
	iter   *pebble.Iterator
	meta   *meta
	size   int64
	buf    []byte // encoded and not read yet is buf[off:]
	off    int
	count  uint64
	sum    uint32
	ended  bool
	closed bool
}

// readAhead is how much is encoded at a time.
const readAhead = 64 << 10

// newStateReader takes a snapshot; measured also finds its size, by going over
// the records once more.
func (s *Store) newStateReader(measured bool) (r *stateReader, err error) {
	r = &stateReader{s: s, snap: s.db.NewSnapshot()}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
			r = nil
		}
	}()
	if r.meta, err = readMeta(r.snap); err != nil {
		return r, s.readError("the meta records", err)
	}
	if !r.meta.valid {
		return r, errors.New("store: the state is being restored, there is nothing to read")
	}
	lower, upper := bounds(prefixState)
	if r.iter, err = r.snap.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper}); err != nil {
		return r, s.readError("the state", err)
	}
	r.buf = appendPlace(append(make([]byte, 0, readAhead+1024), streamMagic...), r.meta.applied, r.meta.config)
	r.sum = crc32.Checksum(r.buf, castagnoli)
	if measured {
		r.size, err = r.measure()
	}
	r.iter.First()
	return r, err
}

// measure returns the length of the stream.
func (r *stateReader) measure() (int64, error) {
	size := int64(len(r.buf) + trailerLen)
	for ok := r.iter.First(); ok; ok = r.iter.Next() {
		value, err := r.iter.ValueAndErr()
		if err != nil {
			return 0, r.s.readError("the state", err)
		}
		size += recordLen(len(r.iter.Key())-1, len(value))
	}
	if err := r.iter.Error(); err != nil {
		return 0, r.s.readError("the state", err)
	}
	return size, nil
}

// Read reads from the stream.
func (r *stateReader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, errors.New("store: the snapshot's reader is closed")
	}
	if r.off == len(r.buf) {
		if r.ended {
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.off:])
	r.off += n
	return n, nil
}

// fill encodes the next records, and behind the last one the trailer.
func (r *stateReader) fill() error {
	r.buf, r.off = r.buf[:0], 0
	for ; len(r.buf) < readAhead && r.iter.Valid(); r.iter.Next() {
		value, err := r.iter.ValueAndErr()
		if err != nil {
			return r.s.readError("the state", err)
		}
		r.buf = appendRecord(r.buf, r.iter.Key()[1:], value)
		r.count++
	}
	if err := r.iter.Error(); err != nil {
		return r.s.readError("the state", err)
	}
	r.sum = crc32.Update(r.sum, castagnoli, r.buf)
	if !r.iter.Valid() {
		r.buf = appendTrailer(r.buf, r.count, r.sum)
		r.ended = true
	}
	return nil
}

// Close lets go of the Pebble snapshot.
func (r *stateReader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	var err error
	if r.iter != nil {
		err = r.iter.Close()
	}
	return errors.Join(err, r.snap.Close())
}
