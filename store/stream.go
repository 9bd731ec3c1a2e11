package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/hashicorp/raft"
)

// The stream of a snapshot, the same on the wire between nodes, in
// received.snapshot and in a backup (DESIGN.md, "Snapshot stream"). Numbers
// are big-endian; lengths of keys and values are varints.
//
//	header   "RLSNAP", version 1, 0 · index 8 · term 8 · configuration's index 8 · its length 4 · configuration
//	record   1 · length of key · length of value · key · value          keys ascending
//	trailer  0 · count of records 8 · CRC32C of all bytes before it 4
const (
	streamMagic   = "RLSNAP\x01\x00"
	streamFixed   = len(streamMagic) + 8 + 8 + 8 + 4
	tagEnd        = 0
	tagRecord     = 1
	trailerLen    = 1 + 8 + 4
	maxConfigLen  = 1 << 20
	maxRecordPart = 64 << 20 // a longer key or value is no record of ours
)

// SnapshotHeader says what a snapshot's state is: that after entry Index.
type SnapshotHeader struct {
	Index, Term        uint64
	Configuration      raft.Configuration
	ConfigurationIndex uint64
}

// appendPlace appends index, term and configuration, as they stand in both
// kinds of header.
func appendPlace(b []byte, p position, c configuration) []byte {
	conf := raft.EncodeConfiguration(c.conf)
	b = binary.BigEndian.AppendUint64(b, p.index)
	b = binary.BigEndian.AppendUint64(b, p.term)
	b = binary.BigEndian.AppendUint64(b, c.index)
	b = binary.BigEndian.AppendUint32(b, uint32(len(conf)))
	return append(b, conf...)
}

// readPlace reads a magic and what appendPlace has appended.
func readPlace(r io.Reader, magic string) (p position, c configuration, err error) {
	var fixed [streamFixed]byte
	if _, err = io.ReadFull(r, fixed[:]); err != nil {
		return p, c, cut(err)
	}
	if string(fixed[:len(magic)]) != magic {
		return p, c, fmt.Errorf("it starts with %q, not with %q", fixed[:len(magic)], magic)
	}
	b := fixed[len(magic):]
	p = position{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
	c.index = binary.BigEndian.Uint64(b[16:])
	n := binary.BigEndian.Uint32(b[24:])
	if n > maxConfigLen {
		return p, c, fmt.Errorf("its configuration has %d bytes", n)
	}
	conf := make([]byte, n)
	if _, err = io.ReadFull(r, conf); err != nil {
		return p, c, cut(err)
	}
	c.conf, err = decodeRaftConfiguration(conf)
	return p, c, err
}

// cut makes the end of the input an error with a plain meaning.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it is cut short: %w", io.ErrUnexpectedEOF)
	}
	return err
}

func appendRecord(b, key, value []byte) []byte {
	b = append(b, tagRecord)
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = binary.AppendUvarint(b, uint64(len(value)))
	b = append(b, key...)
	return append(b, value...)
}

func recordLen(key, value int) int64 {
	var b [2 * binary.MaxVarintLen64]byte
	n := binary.PutUvarint(b[:], uint64(key))
	n += binary.PutUvarint(b[n:], uint64(value))
	return int64(1 + n + key + value)
}

// appendTrailer appends the trailer; sum covers all before it.
func appendTrailer(b []byte, count uint64, sum uint32) []byte {
	b = binary.BigEndian.AppendUint64(append(b, tagEnd), count)
	sum = crc32.Update(sum, castagnoli, b[len(b)-9:])
	return binary.BigEndian.AppendUint32(b, sum)
}

// ReadSnapshot reads a snapshot or backup and yields its records, until yield
// returns false. Whether the whole stream is sound is known only at its end:
// with an error, forget what was yielded. A Write's bytes are valid during the
// call only. header may be nil; else it is called before the first record.
func ReadSnapshot(r io.Reader, header func(SnapshotHeader) error, yield func(Write) bool) error {
	s := &streamReader{r: bufio.NewReaderSize(r, 64<<10), sum: crc32.New(castagnoli)}
	p, c, err := readPlace(s, streamMagic)
	if err != nil {
		return fmt.Errorf("store: not a sound snapshot: %w", err)
	}
	if header != nil {
		if err := header(SnapshotHeader{p.index, p.term, c.conf, c.index}); err != nil {
			return err
		}
	}
	if err := s.records(yield); err != nil {
		return fmt.Errorf("store: not a sound snapshot: %w", err)
	}
	return nil
}

// streamReader sums up what is read through it.
type streamReader struct {
	r     *bufio.Reader
	sum   hash.Hash32
	one   [1]byte
	count uint64
	buf   []byte
}

func (s *streamReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	_, _ = s.sum.Write(p[:n])
	return n, err
}

func (s *streamReader) ReadByte() (byte, error) {
	c, err := s.r.ReadByte()
	if err == nil {
		s.one[0] = c
		_, _ = s.sum.Write(s.one[:])
	}
	return c, err
}

func (s *streamReader) records(yield func(Write) bool) error {
	for {
		tag, err := s.ReadByte()
		if err != nil {
			return cut(err)
		}
		switch tag {
		case tagEnd:
			return s.trailer()
		case tagRecord:
		default:
			return fmt.Errorf("record %d starts with %d", s.count+1, tag)
		}
		w, err := s.record()
		if err != nil {
			return err
		}
		s.count++
		if !yield(w) {
			return nil
		}
	}
}

func (s *streamReader) record() (Write, error) {
	klen, err := binary.ReadUvarint(s)
	if err != nil {
		return Write{}, cut(err)
	}
	vlen, err := binary.ReadUvarint(s)
	if err != nil {
		return Write{}, cut(err)
	}
	if klen > maxRecordPart || vlen > maxRecordPart {
		return Write{}, fmt.Errorf("record %d has a key of %d and a value of %d bytes", s.count+1, klen, vlen)
	}
	s.buf = s.buf[:0]
	// The lengths are not proven yet: memory grows only with what is there.
	for need := int(klen + vlen); need > 0; {
		have, step := len(s.buf), min(need, 1<<20)
		s.buf = append(s.buf, make([]byte, step)...)
		if _, err := io.ReadFull(s, s.buf[have:]); err != nil {
			return Write{}, cut(err)
		}
		need -= step
	}
	return Write{s.buf[:klen:klen], s.buf[klen:][:vlen:vlen]}, nil
}

func (s *streamReader) trailer() error {
	var b [trailerLen - 1]byte
	if _, err := io.ReadFull(s, b[:8]); err != nil {
		return cut(err)
	}
	want := s.sum.Sum32()
	if _, err := io.ReadFull(s, b[8:]); err != nil {
		return cut(err)
	}
	if n := binary.BigEndian.Uint64(b[:]); n != s.count {
		return fmt.Errorf("it has %d records and says %d", s.count, n)
	}
	if sum := binary.BigEndian.Uint32(b[8:]); sum != want {
		return errors.New("it does not match its checksum")
	}
	if _, err := s.r.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.New("it goes on behind its end")
	}
	return nil
}
