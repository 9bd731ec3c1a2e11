package store

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"sync"
	"time"
)

// A backup file (DESIGN.md, "Backup file"): two lines that people can read, the
// stream of a snapshot, and the SHA-256 of all before it.
//
//	redlockd backup 1
//	{"cluster":"5f…","node":"n1","index":1042,"term":7,"time":"2026-11-22T02:00:00Z","version":"0.1.0"}
//	RLSNAP …
//	SHA-256, 32 bytes
const (
	backupWords   = "redlockd backup "
	backupMagic   = backupWords + "1\n"
	maxBackupInfo = 4 << 10
)

// BackupInfo is what a backup says of itself.
type BackupInfo struct {
	// Cluster and Node are where it was taken.
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	// Index and Term are those of the newest entry in it.
	Index uint64 `json:"index"`
	Term  uint64 `json:"term"`
	// Time is when it was taken, by the node's wall clock.
	Time time.Time `json:"time"`
	// Version is that of the program.
	Version string `json:"version"`
}

// Backup streams a backup file: it is read to its end, and closed before the store.
type Backup struct {
	s     *Store
	once  sync.Once // of Close
	info  BackupInfo
	state *stateReader
	sum   hash.Hash
	buf   []byte // not read yet, ahead of the state or behind it
	ended bool
}

// OpenBackup takes a backup of the state of this moment. Applying goes on
// meanwhile; what is read is of one entry. Index and Term of info are filled in.
func (s *Store) OpenBackup(info BackupInfo) (*Backup, error) {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed {
		return nil, errors.New("store: no backup is taken of a store that is closed")
	}
	r, err := s.newStateReader(false)
	if err != nil {
		return nil, err
	}
	info.Index, info.Term = r.meta.applied.index, r.meta.applied.term
	line, err := json.Marshal(info)
	if err == nil && info.Index == 0 {
		err = errors.New("nothing was applied yet")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: taking a backup: %w", err), r.Close())
	}
	s.backups.Add(1)
	b := &Backup{s: s, info: info, state: r, sum: sha256.New(), buf: append(append([]byte(backupMagic), line...), '\n')}
	_, _ = b.sum.Write(b.buf) // a hash takes all
	return b, nil
}

// Info is what the file says of itself.
func (b *Backup) Info() BackupInfo { return b.info }

// Read reads from the file.
func (b *Backup) Read(p []byte) (int, error) {
	if len(b.buf) > 0 || b.ended {
		n := copy(p, b.buf)
		b.buf = b.buf[n:]
		if n == 0 && len(p) > 0 {
			return 0, io.EOF
		}
		return n, nil
	}
	n, err := b.state.Read(p)
	_, _ = b.sum.Write(p[:n])
	if errors.Is(err, io.EOF) {
		b.buf, b.ended = b.sum.Sum(nil), true
		if n == 0 {
			return b.Read(p)
		}
		err = nil
	}
	return n, err
}

// Close lets go of the state. It is not called while Read is.
func (b *Backup) Close() (err error) {
	b.once.Do(func() {
		err = b.state.Close()
		b.s.backups.Done()
	})
	return err
}

// ErrBadBackup says that a file is no backup, or not all of one, or damaged.
var ErrBadBackup = errors.New("not a sound backup")

// ReadBackup reads a backup file of size bytes, from end to end, and yields its
// records. Only when it returns without an error was all of it sound: else
// forget what was yielded. A Write's bytes are valid during the call only. The
// errors are ErrBadBackup, ErrNewer or those of the system.
func ReadBackup(r io.ReaderAt, size int64, yield func(Write)) (BackupInfo, error) {
	info, start, err := readBackupInfo(io.NewSectionReader(r, 0, size))
	if err != nil {
		return info, err
	}
	sum := sha256.New()
	if _, err = io.Copy(sum, io.NewSectionReader(r, 0, start)); err != nil {
		return info, fmt.Errorf("store: reading a backup: %w", err)
	}
	end := size - sha256.Size
	if end < start {
		return info, badBackup(cut(io.EOF))
	}
	var place SnapshotHeader
	err = ReadSnapshot(io.TeeReader(io.NewSectionReader(r, start, end-start), sum),
		func(h SnapshotHeader) error { place = h; return nil },
		func(w Write) bool { yield(w); return true })
	if err != nil {
		return info, badBackup(err)
	}
	var want [sha256.Size]byte
	if _, err = r.ReadAt(want[:], end); err != nil && !errors.Is(err, io.EOF) {
		return info, fmt.Errorf("store: reading a backup: %w", err)
	}
	switch {
	case !bytes.Equal(sum.Sum(nil), want[:]):
		return info, badBackup(errors.New("it does not match its checksum"))
	case place.Index != info.Index || place.Term != info.Term || info.Index == 0:
		return info, badBackup(fmt.Errorf("it says that it is of entry %d of term %d, and its state is of entry %d of term %d",
			info.Index, info.Term, place.Index, place.Term))
	}
	return info, nil
}

// badBackup says what is wrong with a file, and what to do; an error of the
// system it leaves as it is.
func badBackup(err error) error {
	if isSystemError(err) {
		return fmt.Errorf("store: reading a backup: %w", err)
	}
	return fmt.Errorf("store: %w: %w: take another copy of the file", ErrBadBackup, err)
}

// readBackupInfo reads the first two lines; start is where they end.
func readBackupInfo(r io.Reader) (info BackupInfo, start int64, err error) {
	lines := bufio.NewReaderSize(io.LimitReader(r, int64(len(backupMagic)+maxBackupInfo)), len(backupMagic)+maxBackupInfo)
	magic, err := lines.ReadString('\n')
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return info, 0, fmt.Errorf("store: reading a backup: %w", err)
	case magic == backupMagic:
	case strings.HasPrefix(magic, backupWords) && err == nil && len(magic) < 64:
		return info, 0, fmt.Errorf("store: the backup says %q: %w: restore it with that version", strings.TrimSpace(magic), ErrNewer)
	case strings.HasPrefix(backupMagic, magic):
		return info, 0, badBackup(cut(io.EOF))
	default:
		return info, 0, badBackup(fmt.Errorf("it starts with %.20q, not with %q", magic, backupMagic))
	}
	line, err := lines.ReadBytes('\n')
	switch {
	case errors.Is(err, io.EOF) && len(line) < maxBackupInfo:
		return info, 0, badBackup(cut(err))
	case err != nil && !errors.Is(err, io.EOF):
		return info, 0, fmt.Errorf("store: reading a backup: %w", err)
	}
	if jerr := json.Unmarshal(line, &info); err != nil || jerr != nil {
		return info, 0, badBackup(errors.New("its second line does not say what it is of"))
	}
	return info, int64(len(magic) + len(line)), nil
}
