package fsm

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/redlockd/redlockd/internal/canary"
)

// ref is how a record names a session.
type ref struct {
	name string
	id   SessionID
}

// loader gathers the records of a snapshot, which come in any order, and links
// them when all are there.
type loader struct {
	m       *Machine
	meta    bool
	conns   []loaded[*conn]
	locks   []loaded[*lock]
	waits   []loaded[*wait]
	memos   []loaded[*memo]
	notices []loaded[*notice]
	at      map[*session]int64
}

// loaded is an object together with what its record says of others.
type loaded[T any] struct {
	o     T
	ref   ref
	key   string
	at    int64
	conns []Address
}

// Load replaces the machine's state by the records of a snapshot, in any order.
// A record may be reused by the caller after its yield. On an error, which names
// the record, the machine is empty.
func (m *Machine) Load(records func(yield func(Record) bool)) error {
	fresh := New()
	d := &loader{m: fresh, at: map[*session]int64{}}
	var err error
	records(func(r Record) bool {
		if err = d.add(r); err != nil {
			err = fmt.Errorf("state record %.80q: %w", r.Key, err)
		}
		return err == nil
	})
	if err == nil {
		err = d.link()
	}
	if err != nil {
		*m = *New()
		return fmt.Errorf("loading the state: %w", err)
	}
	if err := fresh.CheckInvariants(); err != nil {
		*m = *New()
		return fmt.Errorf("loading the state: %w", err)
	}
	if canary.FenceLost { // fences begin anew after a restore
		fresh.meta.fence = 0
	}
	fresh.markIndex, fresh.lazy = fresh.meta.index, m.lazy
	*m = *fresh
	return nil
}

// Records yields every state record, keys ascending, as the newest flush left
// them; nothing may have changed since. The record is valid during the yield only.
func (m *Machine) Records(yield func(Record) bool) {
	var all []Record
	add := func(o object) {
		v := o.appendValue([]byte{recordVersion})
		all = append(all, Record{Key: o.appendKey(nil), Value: v})
	}
	m.objects(func(o object) {
		if r := o.record(); r.kept {
			add(o)
		}
	})
	slices.SortFunc(all, func(a, b Record) int { return slices.Compare(a.Key, b.Key) })
	for _, r := range all {
		if !yield(r) {
			return
		}
	}
}

// objects shows everything that may be kept as a record.
func (m *Machine) objects(see func(object)) {
	see(&m.meta)
	see(&m.settings)
	for _, o := range m.nodes {
		see(o)
	}
	for _, o := range m.sessions {
		if o.name == "" {
			see(o)
		}
	}
	for _, o := range m.named {
		see(o)
	}
	for _, o := range m.conns {
		see(o)
	}
	for _, o := range m.locks {
		see(o)
	}
	for _, o := range m.waits {
		see(o)
	}
	for _, o := range m.memos {
		see(o)
	}
	for _, o := range m.notices {
		see(o)
	}
	for _, o := range m.tombs {
		see(o)
	}
}

func (d *loader) add(r Record) error {
	if len(r.Key) == 0 || len(r.Value) == 0 {
		return errors.New("an empty key or value")
	}
	if v := r.Value[0]; v != recordVersion {
		return fmt.Errorf("version %d; this program reads version %d: run the newer program", v, recordVersion)
	}
	if canary.SnapshotNoWaiters && r.Key[0] == kindWait { // as if the snapshot lacked them
		return nil
	}
	k, v := reader{b: r.Key[1:]}, reader{b: r.Value[1:]}
	var o object
	switch r.Key[0] {
	case kindMeta:
		d.meta = true
		o = d.metaRecord(&v)
	case kindSettings:
		o = d.settingsRecord(&v)
	case kindNode:
		o = d.nodeRecord(&k, &v)
	case kindConn:
		o = d.connRecord(&k, &v)
	case kindSession:
		o = d.sessionRecord(&k, &v)
	case kindLock:
		o = d.lockRecord(&k, &v)
	case kindWait:
		o = d.waitRecord(&k, &v)
	case kindMemo:
		o = d.memoRecord(&k, &v)
	case kindNotice:
		o = d.noticeRecord(&k, &v)
	case kindTomb:
		t := &tomb{key: string(k.rest()), n: v.uvarint(), note: v.string()}
		d.m.tombs[t.key] = t
		o = t
	default:
		return errors.New("of an unknown kind")
	}
	if err := cmp.Or(k.err, v.err); err != nil {
		return err
	}
	if len(k.b)+len(v.b) > 0 {
		return errors.New("bytes behind its fields")
	}
	if o.record().kept {
		return errors.New("it is there twice")
	}
	*o.record() = rec{kept: true, sum: sum(r)}
	d.m.hash += o.record().sum
	return nil
}
