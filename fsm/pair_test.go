package fsm_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sort"

	"github.com/redlockd/redlockd/fsm"
)

// pair drives two machines with the same entries and compares everything that
// can be seen of them. Both get the entry from its bytes, which are overwritten
// after each Apply, so a machine that keeps a slice of an entry is found out.
// The second machine is thrown away every reload entries and loaded from the
// records that the first one has written so far. A third one defers its records
// and is asked for them now and then.
type pair struct {
	m, twin *fsm.Machine
	lazy    *fsm.Machine
	// late is what a store would hold of the third machine, as of its last flush.
	late map[string][]byte
	// records is what a store would hold: all Effects.Writes, applied.
	records map[string][]byte
	// reload is after how many entries the twin is loaded anew.
	reload  int
	applied int
	rng     *rand.Rand
	first   *fsm.Effects // of the newest entry, by m
	entry   fsm.Entry    // reused by decode, as cluster does
	stats   fsm.Stats
}

func newPair(reload int) *pair {
	p := &pair{
		m: fsm.New(), twin: fsm.New(), lazy: fsm.New(), records: map[string][]byte{}, late: map[string][]byte{}, reload: reload,
		rng: rand.New(rand.NewPCG(1, 2)),
	}
	p.lazy.Defer()
	return p
}

// apply encodes and applies one entry to both machines and returns the first
// one's effects (valid until the next call), or what is wrong.
func (p *pair) apply(index, term uint64, time int64, keepalives []fsm.Keepalive, items []fsm.Item) (*fsm.Effects, error) {
	data := encodeEntry(time, keepalives, items)
	if err := checkRoundTrip(data, index, term); err != nil {
		return nil, err
	}
	first, err := p.applyTo(p.m, bytes.Clone(data), index, term)
	if err == nil {
		err = cmp.Or(p.m.CheckInvariants(), store(p.records, first.Writes))
	}
	if err != nil {
		return nil, err
	}
	p.first = first
	second, err := p.applyTo(p.twin, bytes.Clone(data), index, term)
	if err == nil {
		err = p.twin.CheckInvariants()
	}
	if err != nil {
		return nil, fmt.Errorf("twin: %w", err)
	}
	if err := p.applyLazily(bytes.Clone(data), index, term); err != nil {
		return nil, fmt.Errorf("with records deferred: %w", err)
	}
	if err := sameEffects(first, second); err != nil {
		return nil, fmt.Errorf("two machines, one entry: %w", err)
	}
	if err := p.checkAfter(first, index, term, time); err != nil {
		return nil, err
	}
	p.applied++
	if p.applied%p.reload == 0 {
		if err := p.reapply(data, index, term); err != nil {
			return nil, err
		}
		if err := p.reloadTwin(); err != nil {
			return nil, err
		}
	}
	return first, nil
}

// applyTo decodes data for one machine, applies it and spoils data.
func (p *pair) applyTo(m *fsm.Machine, data []byte, index, term uint64) (*fsm.Effects, error) {
	if err := fsm.DecodeEntry(data, &p.entry); err != nil {
		return nil, fmt.Errorf("decode what AppendEntry made: %w", err)
	}
	p.entry.Index, p.entry.Term = index, term
	eff := m.Apply(&p.entry)
	if eff == nil {
		return nil, errors.New("a new entry has no effects at all (nil)")
	}
	for i := range data {
		data[i] = 0xAA
	}
	return eff, nil
}

// applyLazily applies the entry to the machine that defers its records: but for
// these its effects are the same, and after a flush the records are too.
func (p *pair) applyLazily(data []byte, index, term uint64) error {
	eff, err := p.applyTo(p.lazy, data, index, term)
	if err != nil {
		return err
	}
	if err := store(p.late, eff.Writes); err != nil {
		return err
	}
	same := *eff
	same.Writes, same.Flushed = p.first.Writes, p.first.Flushed
	if err := sameEffects(p.first, &same); err != nil {
		return err
	}
	d1, ok1 := p.m.NextDeadline()
	if d2, ok2 := p.lazy.NextDeadline(); d1 != d2 || ok1 != ok2 {
		return fmt.Errorf("the next deadline is %d %v, should be %d %v", d2, ok2, d1, ok1)
	}
	if a, b := present(p.m.Stats()), present(p.lazy.Stats()); a != b {
		return fmt.Errorf("stats are %+v, should be %+v", b, a)
	}
	i1, h1 := p.m.HashMark()
	if i2, h2 := p.lazy.HashMark(); i1 != i2 || h1 != h2 {
		return fmt.Errorf("the hash to compare is %x at %d, should be %x at %d", h2, i2, h1, i1)
	}
	if p.rng.IntN(7) > 0 {
		return nil
	}
	before := len(eff.Writes)
	if !eff.Flushed {
		before = 0
	}
	if err := store(p.late, p.lazy.Flush().Writes[before:]); err != nil {
		return err
	}
	if p.lazy.Hash() != p.m.Hash() || p.lazy.Unflushed() != 0 {
		return fmt.Errorf("after a flush the hash is %x, should be %x; %d objects are unflushed", p.lazy.Hash(), p.m.Hash(), p.lazy.Unflushed())
	}
	if !maps.EqualFunc(p.late, p.records, bytes.Equal) {
		return fmt.Errorf("after a flush there are %d records, should be %d, or they differ", len(p.late), len(p.records))
	}
	return p.lazy.CheckInvariants()
}

// store applies writes to records as a store would.
func store(records map[string][]byte, writes []fsm.Record) error {
	seen := map[string]bool{} // what was last: a value, and not a deletion
	for _, w := range writes {
		k := string(w.Key)
		if value, twice := seen[k]; twice && (value || w.Value == nil) {
			return fmt.Errorf("record %q is written twice in one entry", k)
		}
		seen[k] = w.Value != nil
		if w.Value == nil {
			delete(records, k)
			continue
		}
		records[k] = bytes.Clone(w.Value)
	}
	return nil
}

// checkAfter compares what both machines say of themselves.
func (p *pair) checkAfter(eff *fsm.Effects, index, term uint64, time int64) error {
	if h1, h2 := p.m.Hash(), p.twin.Hash(); h1 != h2 {
		return fmt.Errorf("hashes differ: %x and %x", h1, h2)
	}
	for _, m := range []*fsm.Machine{p.m, p.twin} {
		if i, t := m.Applied(); i != index || t != term {
			return fmt.Errorf("applied is (%d, %d) after entry (%d, %d)", i, t, index, term)
		}
	}
	now := p.m.Now()
	if eff.Index != index || eff.Time != now || p.twin.Now() != now || now < time {
		return fmt.Errorf("time is %d and %d, effects say index %d time %d, entry %d had time %d", now, p.twin.Now(), eff.Index, eff.Time, index, time)
	}
	d1, ok1 := p.m.NextDeadline()
	d2, ok2 := p.twin.NextDeadline()
	if d1 != d2 || ok1 != ok2 {
		return fmt.Errorf("next deadline differs: %d %v and %d %v", d1, ok1, d2, ok2)
	}
	if ok1 && d1 <= now {
		return fmt.Errorf("next deadline %d is not after the time %d: it would never be met", d1, now)
	}
	s1, s2 := p.m.Stats(), p.twin.Stats()
	if a, b := present(s1), present(s2); a != b {
		return fmt.Errorf("stats differ: %+v and %+v", a, b)
	}
	if s1.LastFence < p.stats.LastFence {
		return fmt.Errorf("the fence counter went back from %d to %d", p.stats.LastFence, s1.LastFence)
	}
	p.stats = s1
	return nil
}

// present keeps of the stats what is a matter of the state, not of the process.
func present(s fsm.Stats) fsm.Stats {
	return fsm.Stats{
		Sessions: s.Sessions, NamedSessions: s.NamedSessions, Connections: s.Connections, Holds: s.Holds, Waiters: s.Waiters,
		Destroyed: s.Destroyed, Notices: s.Notices, IDs: s.IDs, LastFence: s.LastFence,
	}
}

// reapply gives the twin the same index again: nothing may change.
func (p *pair) reapply(data []byte, index, term uint64) error {
	var e fsm.Entry
	if err := fsm.DecodeEntry(data, &e); err != nil {
		return err
	}
	e.Index, e.Term = index, term
	hash := p.twin.Hash()
	eff := p.twin.Apply(&e)
	if eff != nil && (len(eff.Replies)+len(eff.Refused)+len(eff.Batches)+len(eff.Registered)+len(eff.Keepalives)+len(eff.Ended)+len(eff.Events)+len(eff.Writes) > 0) {
		return fmt.Errorf("entry %d applied again has effects: %s", index, show(eff))
	}
	if p.twin.Hash() != hash {
		return fmt.Errorf("entry %d applied again changed the state", index)
	}
	return nil
}

// reloadTwin replaces the twin by a machine loaded from the written records, in
// no order, after comparing them with the first machine's own.
func (p *pair) reloadTwin() error {
	if err := p.checkRecords(); err != nil {
		return err
	}
	keys := make([]string, 0, len(p.records))
	for k := range p.records {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	p.rng.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	m := fsm.New()
	err := m.Load(func(yield func(fsm.Record) bool) {
		for _, k := range keys {
			r := fsm.Record{Key: []byte(k), Value: bytes.Clone(p.records[k])}
			ok := yield(r)
			for i := range r.Value {
				r.Value[i] = 0xAA // the record is only lent
			}
			if !ok {
				return
			}
		}
	})
	if err != nil {
		return fmt.Errorf("load the records that were written: %w", err)
	}
	if err := m.CheckInvariants(); err != nil {
		return fmt.Errorf("after load: %w", err)
	}
	if m.Hash() != p.m.Hash() {
		return fmt.Errorf("a loaded machine has hash %x, the original %x", m.Hash(), p.m.Hash())
	}
	if a, b := m.Settings(), p.m.Settings(); a != b {
		return fmt.Errorf("a loaded machine has settings %+v, the original %+v", a, b)
	}
	i1, t1 := m.Applied()
	i2, t2 := p.m.Applied()
	if i1 != i2 || t1 != t2 || m.Now() != p.m.Now() {
		return fmt.Errorf("a loaded machine is at (%d, %d) time %d, the original at (%d, %d) time %d", i1, t1, m.Now(), i2, t2, p.m.Now())
	}
	p.twin = m
	return nil
}

// checkRecords compares Records with the sum of all Effects.Writes.
func (p *pair) checkRecords() error {
	n, last := 0, []byte(nil)
	var err error
	p.m.Records(func(r fsm.Record) bool {
		if n > 0 && bytes.Compare(last, r.Key) >= 0 {
			err = fmt.Errorf("records are not ascending: %q then %q", last, r.Key)
			return false
		}
		n, last = n+1, append(last[:0], r.Key...)
		v, ok := p.records[string(r.Key)]
		if !ok || !bytes.Equal(v, r.Value) {
			err = fmt.Errorf("record %q is %x, the writes so far made it %x (present: %v)", r.Key, r.Value, v, ok)
			return false
		}
		return true
	})
	if err == nil && n != len(p.records) {
		err = fmt.Errorf("the machine has %d records, the writes so far made %d", n, len(p.records))
	}
	return err
}
