package store

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"
)

// Store is a node's data directory. Its methods may be called from several
// goroutines; Apply, SetConfiguration and Restore come from one, Raft's FSM
// goroutine.
type Store struct {
	opts Options
	dir  *dataDir
	db   *pebble.DB

	witness     witness
	compactions *scheduler // of the open database

	log    logStore
	stable lane
	syncs  lane

	// state is the lane of all that changes the state and its meta records.
	state   lane
	meta    atomic.Pointer[meta]
	staging staging
	// restores is how often the state was replaced by a snapshot.
	restores atomic.Uint64

	backups   sync.WaitGroup // open ones
	closing   sync.Mutex
	closed    bool        // no backup is opened any more
	opened    atomic.Bool // Open has succeeded
	dead      atomic.Bool // a write has failed
	fatalOnce sync.Once
	closeOnce sync.Once

	damagedFile      atomic.Pointer[string]
	backgroundErrors atomic.Int64
	complaints       limiter
	diskSlow         atomic.Int64
	writeStalls      atomic.Int64
}

// meta is what the meta records say; a new value for every change.
type meta struct {
	applied position
	config  configuration
	valid   bool
}

// Open opens the data directory, or makes it. It checks what it can check
// without reading everything: the directory's own files, Pebble's files, the
// ends of the log and all of its entries that a WAL may have held or that are
// not in the state yet. An interrupted Restore is done again.
//
// The errors are ErrInUse, ErrForeign, ErrNewer, ErrDamaged, ErrUnfinished or a
// plain error of the system; then nothing that was there has been changed.
func Open(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err := openDir(o, markerCreating)
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, dir: dir, witness: witness{dir: dir}}
	s.log.s = s
	if err := s.open(); err != nil {
		s.witness.close()
		return nil, errors.Join(err, dir.lock.Close())
	}
	s.opened.Store(true)
	s.compactions.release()
	return s, nil
}

// open checks what is there and then opens it for writing. The check has the
// database open read-only: Pebble, when it may write, starts by turning WAL
// files into tables, and the traces of damage would be gone with the first try.
func (s *Store) open() error {
	if !s.dir.fresh {
		if err := s.check(); err != nil {
			return s.dir.suspects(err)
		}
	}
	db, err := s.openPebble(false)
	if err != nil {
		return err
	}
	s.db = db
	s.log.init(s, "log", 64<<10)
	s.stable.init(s, "vote or term", 256)
	s.syncs.init(s, "sync", 64)
	s.state.init(s, "state", 64<<10)
	if err := s.load(); err != nil {
		s.closeLanes()
		return errors.Join(err, db.Close())
	}
	return nil
}

// check looks at all that is there without changing it.
func (s *Store) check() (err error) {
	s.witness.read()
	if err = s.witness.checkFiles(); err != nil {
		return err
	}
	if s.db, err = s.openPebble(true); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.db.Close()) }()
	if err = s.loadMeta(); err != nil {
		return err
	}
	m := s.meta.Load()
	if err := s.witness.checkApplied(m.applied.index); err != nil {
		return err
	}
	if err := s.log.check(); err != nil || m.valid {
		return err
	}
	return s.checkInterrupted()
}

// load reads what is kept in memory and repairs what a crash has cut short.
func (s *Store) load() error {
	if s.dir.fresh {
		s.initMeta()
		return s.dir.ready()
	}
	if err := s.loadMeta(); err != nil {
		return err
	}
	if err := s.log.load(); err != nil {
		return err
	}
	return s.recoverRestore()
}

// openPebble opens the database. Pebble answers most damage with an error and
// some with a panic; both become ErrDamaged.
func (s *Store) openPebble(readOnly bool) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			rerr, ok := r.(error)
			if !ok {
				rerr = fmt.Errorf("%v", r)
			}
			db, err = nil, s.openError(rerr)
		}
	}()
	s.compactions = &scheduler{held: true}
	db, err = pebble.Open(s.dir.db, s.pebbleOptions(readOnly))
	if err != nil {
		return nil, s.openError(err)
	}
	return db, nil
}

// openError says what an error of opening the database means.
func (s *Store) openError(err error) error {
	switch {
	case s.dir.fresh:
		return fmt.Errorf("store: making the database in %s: %w", s.dir.db, err)
	case isSystemError(err):
		return fmt.Errorf("store: opening the database in %s: %w", s.dir.db, err)
	}
	return s.damage(err)
}

// initMeta writes the meta records of a new store.
func (s *Store) initMeta() {
	s.meta.Store(&meta{valid: true})
	b := s.state.begin()
	s.state.must(b.Set(keyValid, stateValid, nil))
	s.state.must(b.Set(keyFormat, layoutOne, nil))
	s.state.commit(true)
}

// loadMeta reads the meta records.
func (s *Store) loadMeta() error {
	format, err := read(s.db, keyFormat)
	if err != nil {
		return s.readError("the store's format", err)
	}
	if len(format) == 1 && format[0] > recordVersion {
		return fmt.Errorf("store: %s has layout %d: %w", s.dir.db, format[0], ErrNewer)
	}
	if len(format) != 1 || format[0] != recordVersion {
		return damagedf("meta record %s in %s is %x", keyFormat, s.dir.db, format)
	}
	m, err := readMeta(s.db)
	if err != nil {
		return s.readError("the meta records", err)
	}
	s.meta.Store(m)
	return nil
}

// readMeta reads the meta records from the database or from one of its snapshots.
func readMeta(r pebble.Reader) (*meta, error) {
	m := &meta{}
	valid, err := read(r, keyValid)
	if err != nil {
		return nil, err
	}
	switch string(valid) {
	case string(stateValid):
		m.valid = true
	case string(stateInvalid):
	default:
		return nil, damagedf("meta record %s is %x", keyValid, valid)
	}
	b, err := read(r, keyApplied)
	if err == nil && b != nil {
		m.applied, err = decodePosition(b)
	}
	if err != nil {
		return nil, err
	}
	b, err = read(r, keyConfig)
	if err == nil && b != nil {
		m.config, err = decodeConfiguration(b)
	}
	return m, err
}

// read returns a copy of the value of a key, nil if there is none.
func read(r pebble.Reader, key []byte) ([]byte, error) {
	v, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closer.Close()
	return append(make([]byte, 0, len(v)), v...), nil
}

// Log is Raft's log. Every append and every cut is synced.
func (s *Store) Log() raft.LogStore { return &s.log }

// Sync returns when all that was written before is on disk.
func (s *Store) Sync() error {
	s.syncs.Lock()
	defer s.syncs.Unlock()
	s.syncs.must(s.syncs.begin().LogData(nil, nil))
	s.syncs.commit(true)
	return nil
}

// Close makes the state durable and closes the database; it waits for the backups
// that are open. Raft must have been shut down and every snapshot reader closed
// before; no method but Close and OpenBackup may be called afterwards.
func (s *Store) Close() error {
	var err error
	s.closeOnce.Do(func() {
		s.closing.Lock()
		s.closed = true
		s.closing.Unlock()
		s.backups.Wait()
		_ = s.Sync()
		s.closeLanes()
		err = s.db.Close()
		s.witness.close()
		err = errors.Join(err, s.dir.lock.Close())
		if err != nil {
			err = fmt.Errorf("store: closing %s: %w", s.dir.path, err)
		}
	})
	return err
}

func (s *Store) closeLanes() {
	for _, l := range []*lane{&s.log.lane, &s.stable, &s.syncs, &s.state} {
		l.Lock()
		l.close()
		l.Unlock()
	}
}
