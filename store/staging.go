package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// staging is the snapshot that was received and not restored yet. The file
// starts with where Raft puts it, which for a backup is not where its own
// header says:
//
//	"RLRECV", version 1, 0 · index 8 · term 8 · configuration's index 8 · its length 4 · configuration · CRC32C 4
//	the stream as received
type staging struct {
	mu       sync.Mutex
	received *received
}

type received struct {
	at     position
	config configuration
	offset int64 // where the stream starts
	size   int64 // its length
}

const stagingMagic = "RLRECV\x01\x00"

// sink takes one snapshot from Raft.
type sink struct {
	s      *Store
	at     position
	config configuration
	local  bool // PersistState was here
	// restores is how often the state had been replaced when a local one was asked for.
	restores uint64
	file     vfs.File
	buf      *bufio.Writer
	done     bool
}

// ID names the snapshot for Open.
func (k *sink) ID() string {
	if k.local {
		return snapshotID(idState, k.at)
	}
	return snapshotID(idReceived, k.at)
}

// Write takes a piece of a snapshot that another node sends. One that is older
// than the state is refused: Raft would go back and miss the entries between.
func (k *sink) Write(p []byte) (int, error) {
	if k.local || k.done {
		return 0, errors.New("store: writing to a snapshot that takes nothing")
	}
	if k.file == nil {
		if index, _ := k.s.Applied(); k.at.index < index {
			return 0, fmt.Errorf("store: snapshot at entry %d, state at entry %d: %w", k.at.index, index, ErrOldSnapshot)
		}
		if err := k.create(); err != nil {
			return 0, err
		}
	}
	n, err := k.buf.Write(p)
	if err != nil {
		err = fmt.Errorf("store: writing %s: %w", receivedFile+tmpSuffix, err)
	}
	return n, err
}

func (k *sink) create() error {
	f, err := k.s.dir.fs.Create(k.s.dir.file(receivedFile+tmpSuffix), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("store: staging a snapshot: %w", err)
	}
	head := appendPlace([]byte(stagingMagic), k.at, k.config)
	head = binary.BigEndian.AppendUint32(head, checksum(head))
	k.file, k.buf = f, bufio.NewWriterSize(f, 256<<10)
	_, err = k.buf.Write(head)
	return err
}

// Cancel throws the snapshot away.
func (k *sink) Cancel() error {
	k.done = true
	return k.discard()
}

func (k *sink) discard() error {
	if k.file == nil {
		return nil
	}
	err := k.file.Close()
	k.file = nil
	return errors.Join(err, k.s.dir.remove(receivedFile+tmpSuffix))
}

// Close ends the snapshot. A local one is the state, which is made durable. A
// received one is checked, whole, and staged: from now on Restore can have it.
func (k *sink) Close() error {
	if k.done {
		return nil
	}
	k.done = true
	if k.local {
		if err := k.overtaken(); err != nil {
			return err
		}
		k.s.takeLocal(k.at, k.config)
		return k.overtaken() // a sync can take as long as another snapshot
	}
	if k.file == nil {
		return errors.New("store: an empty snapshot was received")
	}
	err := k.buf.Flush()
	if err == nil {
		err = k.file.Sync()
	}
	err = errors.Join(err, k.file.Close())
	k.file = nil
	if err == nil {
		err = k.stage()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("store: staging a snapshot: %w", err), k.s.dir.remove(receivedFile+tmpSuffix))
	}
	return nil
}

// stage checks the temporary file and gives it its name.
func (k *sink) stage() error {
	d := k.s.dir
	got, err := k.s.readStaged(receivedFile + tmpSuffix)
	if err != nil {
		return err
	}
	k.s.staging.mu.Lock()
	defer k.s.staging.mu.Unlock()
	if err := d.fs.Rename(d.file(receivedFile+tmpSuffix), d.file(receivedFile)); err != nil {
		return err
	}
	if err := d.sync(d.path); err != nil {
		return err
	}
	k.s.staging.received = got
	return nil
}

// readStaged reads and checks a staged file from end to end.
func (s *Store) readStaged(name string) (*received, error) {
	f, got, err := s.openStaged(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	err = ReadSnapshot(io.NewSectionReader(f, got.offset, got.size), nil, func(Write) bool { return true })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.dir.file(name), err)
	}
	return got, nil
}

// openStaged opens a staged file and reads its head.
func (s *Store) openStaged(name string) (vfs.File, *received, error) {
	f, err := s.dir.fs.Open(s.dir.file(name), vfs.SequentialReadsOption)
	if err != nil {
		return nil, nil, err
	}
	got, err := readStagingHead(f)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", s.dir.file(name), err), f.Close())
	}
	return f, got, nil
}

func readStagingHead(f vfs.File) (*received, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	sum := crc32.New(castagnoli)
	head := io.NewSectionReader(f, 0, info.Size())
	got := &received{}
	if got.at, got.config, err = readPlace(io.TeeReader(head, sum), stagingMagic); err != nil {
		return nil, err
	}
	var stored [4]byte
	if _, err = io.ReadFull(head, stored[:]); err != nil {
		return nil, cut(err)
	}
	if binary.BigEndian.Uint32(stored[:]) != sum.Sum32() {
		return nil, errors.New("its head does not match its checksum")
	}
	if got.offset, err = head.Seek(0, io.SeekCurrent); err != nil {
		return nil, err
	}
	got.size = info.Size() - got.offset
	return got, nil
}

// openReceived streams the staged snapshot.
func (s *Store) openReceived(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.staging.mu.Lock()
	defer s.staging.mu.Unlock()
	got := s.staging.received
	if got == nil || snapshotID(idReceived, got.at) != id {
		return nil, nil, fmt.Errorf("store: there is no snapshot %q", id)
	}
	f, err := s.dir.fs.Open(s.dir.file(receivedFile), vfs.SequentialReadsOption)
	if err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	r := struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, got.offset, got.size), f}
	return snapshotMeta(id, got.at, got.config, got.size), r, nil
}

// Received returns where Raft has put the snapshot that was received and
// awaits Restore: Raft's FSM.Restore is not told. ok is false if there is none.
func (s *Store) Received() (index, term uint64, ok bool) {
	s.staging.mu.Lock()
	defer s.staging.mu.Unlock()
	if got := s.staging.received; got != nil {
		return got.at.index, got.at.term, true
	}
	return 0, 0, false
}

// dropStaged removes what is staged or half received.
func (s *Store) dropStaged() error {
	s.staging.mu.Lock()
	defer s.staging.mu.Unlock()
	s.staging.received = nil
	return s.dir.remove(receivedFile)
}
