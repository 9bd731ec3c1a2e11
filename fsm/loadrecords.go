package fsm

import (
	"encoding/binary"
	"fmt"
)

func (r *reader) rest() []byte {
	p := r.b
	r.b = nil
	return p
}

func (r *reader) key64() uint64 {
	p := r.take(8)
	if p == nil {
		return 0
	}
	return binary.BigEndian.Uint64(p)
}

func (r *reader) ref() ref {
	switch r.byte() {
	case 0:
	case 1:
		return ref{name: r.string()}
	case 2:
		return ref{id: SessionID(r.uvarint())}
	default:
		r.fail("a session reference of an unknown kind")
	}
	return ref{}
}

func (r *reader) ownerKind() ownerKind {
	k := ownerKind(r.byte())
	if k > ownKeep {
		r.fail("an owner of an unknown kind")
	}
	return k
}

func (d *loader) metaRecord(v *reader) object {
	x := &d.m.meta
	x.index, x.term, x.now = v.uvarint(), v.uvarint(), int64(v.uvarint())
	x.fence, x.incs, x.waits = v.uvarint(), v.uvarint(), v.uvarint()
	x.tombs, x.notices, x.memos = v.uvarint(), v.uvarint(), v.uvarint()
	if x.now < 0 {
		v.fail("a negative time")
	}
	return x
}

func (d *loader) settingsRecord(v *reader) object {
	for range v.count(2) {
		name, value := v.string(), v.string()
		if v.err != nil {
			break
		}
		// A setting that this version does not know is another version's.
		if err := d.m.settings.set(name, value); err != nil {
			v.fail(fmt.Sprintf("setting %q: %v", name, err))
		}
	}
	return &d.m.settings
}

func (d *loader) nodeRecord(k, v *reader) object {
	n := &node{name: string(k.rest()), inc: Incarnation(v.uvarint()), ka: v.uvarint(), batch: v.uvarint(), drawn: v.uvarint()}
	copy(n.nonce[:], v.take(len(n.nonce)))
	n.alive, n.extended, n.diskFull = v.bool(), v.bool(), v.bool()
	n.at = v.varint()
	if v.err == nil && len(v.b) > 0 {
		n.disk, n.announce = v.string(), v.string()
		n.mark, n.hash = v.uvarint(), v.uvarint()
		if len(v.b) > 0 {
			if n.seen = v.varint(); n.seen <= 0 && v.err == nil {
				v.fail("a node that has seen no time")
			}
		}
		if n.disk == "" && n.announce == "" && n.mark == 0 && n.seen == 0 {
			v.fail("a node without what its record is long for")
		}
	}
	n.deadline.it, n.deadline.ord = n, uint64(n.inc)
	if d.m.nodes[n.name] != nil {
		v.fail("a node that is there twice")
	}
	d.m.nodes[n.name] = n
	if n.alive {
		if d.m.live[n.inc] != nil {
			v.fail("an incarnation of two nodes")
		}
		d.m.live[n.inc] = n
	}
	return n
}

func (d *loader) connRecord(k, v *reader) object {
	c := &conn{id: ConnID(k.key64()), seq: v.uvarint(), last: int64(v.uvarint()), life: SessionID(v.uvarint())}
	x := loaded[*conn]{o: c, ref: v.ref()}
	c.name, c.addr = v.string(), v.string()
	if c.refusal = Code(v.byte()); c.refusal > CodeUncertain {
		v.fail("an unknown code")
	}
	if c.refusal != CodeOK {
		c.reason = Detail{Why: Why(v.byte()), Number: v.varint(), Text: v.string()}
	}
	d.m.conns[c.id] = c
	d.conns = append(d.conns, x)
	return c
}

// longestTTL is more than any client can ask for, in ms; what is added to it never overflows.
const longestTTL = 1 << 53

func (d *loader) sessionRecord(k, v *reader) object {
	s := &session{id: SessionID(v.uvarint()), why: Why(v.byte()), live: v.bool(), heartbeat: v.bool()}
	s.ttl, s.last = v.varint(), v.varint()
	at := v.varint()
	switch k.byte() {
	case 'n':
		if s.name = string(k.rest()); s.name == "" || d.m.named[s.name] != nil {
			v.fail("a session name that is empty or there twice")
		}
		if s.live && (s.ttl < 1 || s.ttl > longestTTL) {
			v.fail("a named session without a TTL that can be")
		}
		d.m.named[s.name] = s
	case 'a':
		if id := k.key64(); SessionID(id) != s.id || !s.live {
			v.fail("an anonymous session under another id, or ended")
		}
	default:
		k.fail("a session of an unknown kind")
	}
	if s.live {
		if d.m.sessions[s.id] != nil {
			v.fail("a session id that is there twice")
		}
		d.m.sessions[s.id] = s
	}
	s.deadline.it, s.deadline.ord = s, uint64(s.id)
	d.at[s] = at
	return s
}

func (d *loader) lockRecord(k, v *reader) object {
	l := &lock{key: string(k.rest()), fence: v.uvarint(), kind: v.ownerKind()}
	x := loaded[*lock]{o: l, ref: v.ref()}
	l.label = v.string()
	l.count, l.granted, l.end, l.claim = v.varint(), v.varint(), v.varint(), v.varint()
	l.conn = ConnID(v.uvarint())
	x.conns = []Address{{Conn: ConnID(v.uvarint())}}
	l.memo = v.uvarint()
	l.node, l.note = v.string(), v.string()
	l.name, l.addr = v.string(), v.string()
	if l.fence == 0 || l.count < 1 || d.m.locks[l.key] != nil {
		v.fail("a lock that is free or there twice")
	}
	d.m.locks[l.key] = l
	d.locks = append(d.locks, x)
	return l
}

func (d *loader) waitRecord(k, v *reader) object {
	w := &wait{num: k.key64(), cmd: OpCode(v.byte()), kind: v.ownerKind()}
	x := loaded[*wait]{o: w, key: v.string(), ref: v.ref()}
	w.label, w.id, w.note = v.string(), v.string(), v.string()
	w.lease, w.since, w.until, w.orphan = v.varint(), v.varint(), v.varint(), v.varint()
	for range v.count(2) {
		x.conns = append(x.conns, Address{ConnID(v.uvarint()), v.uvarint()})
	}
	if w.cmd != OpLock && w.cmd != OpTryLock {
		v.fail("a wait of another command")
	}
	d.m.waits[w.num] = w
	d.waits = append(d.waits, x)
	return w
}

func (d *loader) memoRecord(k, v *reader) object {
	o := &memo{}
	x := loaded[*memo]{o: o, ref: k.ref()}
	o.kind, o.label = k.ownerKind(), k.string()
	o.key = string(k.rest())
	x.at = v.varint()
	o.expire.it, o.expire.ord = o, v.uvarint()
	for range v.count(8) {
		y := memory{id: v.string(), cmd: OpCode(v.byte())}
		y.code, y.why = Code(v.byte()), Why(v.byte())
		y.wait, y.fence, y.num = v.uvarint(), v.uvarint(), v.varint()
		y.text, y.fresh = v.string(), v.bool()
		o.list = append(o.list, y)
	}
	d.memos = append(d.memos, x)
	return o
}

func (d *loader) noticeRecord(k, v *reader) object {
	n := &notice{n: k.key64()}
	x := loaded[*notice]{o: n, ref: v.ref()}
	n.claim.kind, n.why = v.ownerKind(), Why(v.byte())
	n.claim.label, n.claim.key = v.string(), v.string()
	n.fence, n.text = v.uvarint(), v.string()
	x.at = v.varint()
	n.expire.it, n.expire.ord = n, n.n
	d.notices = append(d.notices, x)
	return n
}

// checkSums wants of every kept object that it encodes to the record it came
// from, and of the running hash that it is the sum of all.
func (m *Machine) checkSums() (err error) {
	var buf []byte
	var all uint64
	m.objects(func(o object) {
		r := o.record()
		if err != nil || !r.kept {
			return
		}
		buf = o.appendKey(buf[:0])
		k := len(buf)
		buf = o.appendValue(append(buf, recordVersion))
		if sum(Record{Key: buf[:k], Value: buf[k:]}) != r.sum {
			err = fmt.Errorf("state record %.80q is not as this program writes it", buf[:k])
		}
		all += r.sum
	})
	if err == nil && all != m.hash {
		err = fmt.Errorf("the running hash is %x, the records make %x", m.hash, all)
	}
	return err
}
