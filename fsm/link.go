package fsm

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// link ties the loaded objects together, each kind in the order in which the
// machine made them, so that a loaded machine is like the one that was saved.
func (d *loader) link() error {
	if !d.meta {
		if d.m.hash == 0 {
			return nil // the state of a new node
		}
		return errors.New("the record of the applied index is missing")
	}
	if err := d.checkCounters(); err != nil {
		return err
	}
	for _, step := range []func() error{d.linkConns, d.linkLocks, d.linkWaits, d.linkMemos, d.linkNotices, d.linkRest} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// checkCounters wants that nothing has a number that is yet to be given: it would
// be given twice.
func (d *loader) checkCounters() error {
	x := &d.m.meta
	given := func(what string, n, last uint64) error {
		if n == 0 || n > last {
			return fmt.Errorf("%s has number %d, and the last one given is %d", what, n, last)
		}
		return nil
	}
	var err error
	for _, o := range d.memos {
		err = cmp.Or(err, given("a list of request IDs", o.o.expire.ord, x.memos))
	}
	for _, o := range d.notices {
		err = cmp.Or(err, given("a notice", o.o.n, x.notices))
	}
	for _, t := range d.m.tombs {
		err = cmp.Or(err, given("a destroyed name", t.n, x.tombs))
	}
	for _, n := range d.m.nodes {
		err = cmp.Or(err, given("an incarnation", uint64(n.inc), x.incs))
	}
	for _, s := range d.m.sessions {
		n := d.m.live[ConnID(s.id).Incarnation()]
		if k := uint64(s.id) & (drawnSessions - 1); n != nil && uint64(s.id)&drawnSessions != 0 {
			err = cmp.Or(err, given("a session", k, n.drawn))
		}
	}
	return err
}

// session finds what a reference names; nil only for no reference.
func (d *loader) session(r ref) (*session, error) {
	switch {
	case r.name != "":
		if s := d.m.named[r.name]; s != nil {
			return s, nil
		}
	case r.id != 0:
		if s := d.m.sessions[r.id]; s != nil && s.name == "" {
			return s, nil
		}
	default:
		return nil, nil
	}
	return nil, fmt.Errorf("session %q (%d) is referred to and missing", r.name, r.id)
}

func (d *loader) linkConns() error {
	slices.SortFunc(d.conns, func(a, b loaded[*conn]) int { return cmp.Compare(a.o.id, b.o.id) })
	for _, x := range d.conns {
		c := x.o
		s, err := d.session(x.ref)
		c.node = d.m.live[c.id.Incarnation()]
		if err != nil || s == nil || c.node == nil {
			return fmt.Errorf("connection %d has no session or no node: %w", c.id, cmp.Or(err, errors.New("missing")))
		}
		bagAdd(&c.node.conns, c, &c.nodePos)
		c.session = s
		if s.name != "" {
			s.linked++
		}
		if c.life != 0 {
			if c.life != s.id || !s.live {
				return fmt.Errorf("connection %d is attached to a session that has ended", c.id)
			}
			bagAdd(&s.conns, c, &c.sessPos)
		} else if s.name == "" {
			return fmt.Errorf("connection %d is not in its own session", c.id)
		}
	}
	for _, s := range d.m.sessions {
		if s.name == "" && len(s.conns) != 1 {
			return fmt.Errorf("anonymous session %d has %d connections", s.id, len(s.conns))
		}
	}
	for _, n := range d.m.live {
		if len(n.conns) > 0 {
			d.m.nodeTimers.set(&n.deadline, n.at)
		}
	}
	return nil
}

func (d *loader) linkLocks() error {
	slices.SortFunc(d.locks, func(a, b loaded[*lock]) int { return cmp.Compare(a.o.fence, b.o.fence) })
	last := uint64(0)
	for _, x := range d.locks {
		l := x.o
		s, err := d.session(x.ref)
		if err != nil {
			return err
		}
		if (s == nil) != (l.kind == ownKeep) || s != nil && !s.live || l.fence <= last || l.fence > d.m.meta.fence {
			return fmt.Errorf("the hold of lock %q has an impossible session or fence", l.key)
		}
		last = l.fence
		if l.session = s; s != nil {
			bagAdd(&s.holds, l, &l.sessPos)
		}
		if id := x.conns[0].Conn; id != 0 {
			if l.claimer = d.m.conns[id]; l.claimer == nil {
				return fmt.Errorf("lock %q is to be claimed by a connection that is missing", l.key)
			}
			l.claimer.unclaimed++
		}
		d.m.holdOrder.add(l.fence, l)
		d.m.arm(l)
	}
	return nil
}

func (d *loader) linkWaits() error {
	slices.SortFunc(d.waits, func(a, b loaded[*wait]) int { return cmp.Compare(a.o.num, b.o.num) })
	for _, x := range d.waits {
		w := x.o
		s, err := d.session(x.ref)
		w.lock = d.m.locks[x.key]
		if err != nil || s == nil || !s.live || w.lock == nil || w.num > d.m.meta.waits {
			return fmt.Errorf("wait %d for lock %q has no session or no lock: %w", w.num, x.key, cmp.Or(err, errors.New("missing")))
		}
		if min(w.lease, w.until, w.orphan) < 0 || w.kind == ownKeep && w.lease == 0 {
			return fmt.Errorf("wait %d for lock %q has impossible times", w.num, x.key)
		}
		w.session = s
		d.m.line(w)
		for _, a := range x.conns {
			c := d.m.conns[a.Conn]
			if c == nil || a.Seq != 0 && c.blocked != nil || c.attached() != s {
				return fmt.Errorf("wait %d for lock %q belongs to a connection that can not wait", w.num, x.key)
			}
			d.m.bind(w, c, a.Seq)
		}
		if len(w.callers) == 0 && w.orphan == 0 {
			return fmt.Errorf("wait %d for lock %q has nobody that waits", w.num, x.key)
		}
		d.m.armWait(w)
	}
	return nil
}

func (d *loader) linkMemos() error {
	m := d.m
	slices.SortFunc(d.memos, func(a, b loaded[*memo]) int { return cmp.Compare(a.o.expire.ord, b.o.expire.ord) })
	for _, x := range d.memos {
		o := x.o
		s, err := d.session(x.ref)
		if err != nil || s == nil {
			return fmt.Errorf("request IDs for lock %q have no session: %w", o.key, cmp.Or(err, errors.New("missing")))
		}
		o.s = s
		if m.memos[o.memoKey] != nil {
			return fmt.Errorf("request IDs for lock %q are there twice", o.key)
		}
		m.memos[o.memoKey] = o
		m.memoByNumber[o.expire.ord] = o
		bagAdd(&s.memos, o, &o.pos)
		s.ids += int64(len(o.list))
		m.ids += int64(len(o.list))
		m.memoTimers.set(&o.expire, x.at)
		for _, y := range o.list {
			if y.wait == 0 {
				continue
			}
			w := m.waits[y.wait]
			if w == nil || w.id != y.id || w.session != s || w.kind != o.kind || w.kind != ownEach && w.kind != ownKeep && w.label != o.label || w.lock.key != o.key {
				return fmt.Errorf("request ID %q for lock %q stands in no line", y.id, o.key)
			}
			w.memo = o
		}
	}
	for _, w := range m.waits {
		if (w.id != "") != (w.memo != nil) {
			return fmt.Errorf("wait %d for lock %q and its request ID do not match", w.num, w.lock.key)
		}
	}
	return nil
}

func (d *loader) linkNotices() error {
	slices.SortFunc(d.notices, func(a, b loaded[*notice]) int { return cmp.Compare(a.o.n, b.o.n) })
	for _, x := range d.notices {
		n := x.o
		s, err := d.session(x.ref)
		if err != nil || s == nil || d.m.notices[n.n] != nil {
			return fmt.Errorf("the notice of lock %q has no session: %w", n.claim.key, cmp.Or(err, errors.New("missing")))
		}
		n.s = s
		d.m.keepNotice(n)
		if x.at >= 0 {
			d.m.noticeTimers.set(&n.expire, x.at)
		}
	}
	return nil
}

func (d *loader) linkRest() error {
	m := d.m
	for s, at := range d.at {
		if at >= 0 && s.live {
			m.sessionTimers.set(&s.deadline, at)
		}
	}
	m.heldCount, m.deadCount = int64(len(m.locks)), int64(len(m.tombs))
	tombs := make([]*tomb, 0, len(m.tombs))
	for _, t := range m.tombs {
		tombs = append(tombs, t)
	}
	slices.SortFunc(tombs, func(a, b *tomb) int { return cmp.Compare(a.n, b.n) })
	for _, t := range tombs {
		m.tombOrder.add(t.n, t)
	}
	for _, s := range m.named {
		if !s.live && len(s.conns) > 0 {
			return fmt.Errorf("session %q has ended and has connections", s.name)
		}
	}
	// Linking marks records as changed; nothing has changed.
	for _, o := range m.dirty {
		o.record().dirty = false
	}
	m.dirty = nil
	m.eff = Effects{}
	return nil
}
