package fsm

import (
	"encoding/binary"
	"fmt"
)

// DecodeEntry decodes data into e, reusing e's slices. The ops' byte slices
// point into data. Index and Term are left alone. It refuses whatever
// AppendEntry could not have written.
func DecodeEntry(data []byte, e *Entry) error {
	r := reader{b: data}
	if v := r.byte(); r.err == nil && v != entryVersion {
		return fmt.Errorf("fsm: entry of version %d; this program reads version %d: run the newer program on every node", v, entryVersion)
	}
	e.Time = int64(r.uvarint())
	if e.Time < 0 {
		r.fail("a negative time")
	}
	n := r.count(3)
	e.Keepalives = e.Keepalives[:0]
	for range n {
		e.Keepalives = append(e.Keepalives, r.keepalive())
	}
	items := e.Items[:0]
	for r.err == nil && len(r.b) > 0 {
		if len(items) < cap(items) {
			items = items[:len(items)+1]
		} else {
			items = append(items, Item{})
		}
		r.item(&items[len(items)-1])
	}
	e.Items = items
	return r.err
}

// EntryItems returns the encoded items of an entry: what AppendEntry takes again.
func EntryItems(data []byte) ([]byte, error) {
	r := reader{b: data}
	if v := r.byte(); r.err == nil && v != entryVersion {
		return nil, fmt.Errorf("fsm: entry of version %d; this program reads version %d: run the newer program on every node", v, entryVersion)
	}
	r.uvarint()
	for range r.count(3) {
		r.keepalive()
	}
	return r.b, r.err
}

// DecodeItem decodes one item made by AppendRegister, AppendBatch or AppendRemove.
func DecodeItem(data []byte) (Item, error) {
	r := reader{b: data}
	var it Item
	r.item(&it)
	if r.err == nil && len(r.b) > 0 {
		r.fail("bytes behind an item")
	}
	return it, r.err
}

// reader takes values off the front of b; after the first error it returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("fsm: malformed record: %s", what)
	}
	r.b = nil
}

func (r *reader) short() {
	if r.err == nil {
		r.err = errShort
	}
	r.b = nil
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.short()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.short()
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.short()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.short()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number of elements of at least size bytes each.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.short()
		return 0
	}
	return int(n)
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > maxField {
		r.fail("a field over 64 KiB")
		return nil
	}
	return r.take(int(n))
}

func (r *reader) string() string { return string(r.bytes()) }

func (r *reader) bool() bool {
	c := r.byte()
	if c > 1 {
		r.fail("a truth value that is neither 0 nor 1")
	}
	return c == 1
}

func (r *reader) fixed64() uint64 {
	p := r.take(8)
	if p == nil {
		return 0
	}
	return binary.LittleEndian.Uint64(p)
}

func (r *reader) keepalive() Keepalive {
	k := Keepalive{Incarnation: Incarnation(r.uvarint()), Number: r.uvarint()}
	flags := r.byte()
	if flags&^keepaliveAll != 0 {
		r.fail("a keepalive with unknown flags")
	}
	k.DiskFull = flags&keepaliveFull != 0
	if flags&keepaliveSeen != 0 {
		if k.Seen = int64(r.uvarint()); k.Seen <= 0 {
			r.fail("a keepalive that has seen no time")
		}
	}
	k.HashIndex, k.Hash = r.uvarint(), r.fixed64()
	n := r.count(1)
	if n > maxContacts {
		r.fail("too many contacts in a keepalive")
		return k
	}
	for range n {
		k.Contacts = append(k.Contacts, SessionID(r.uvarint()))
	}
	return k
}

func (r *reader) item(it *Item) {
	it.Kind = ItemKind(r.byte())
	head := r.take(4)
	if head == nil {
		return
	}
	body := reader{b: r.take(int(binary.LittleEndian.Uint32(head)))}
	if r.err != nil {
		return
	}
	switch it.Kind {
	case ItemRegister:
		it.Register = Register{Node: body.string(), Replaces: Incarnation(body.uvarint())}
		copy(it.Register.Nonce[:], body.take(len(it.Register.Nonce)))
		if body.err == nil && len(body.b) > 0 {
			it.Register.Disk, it.Register.Announce = body.string(), body.string()
		}
	case ItemRemove:
		it.Remove = body.string()
	case ItemBatch:
		body.batch(&it.Batch)
	case ItemInvalid:
		fallthrough
	default:
		r.fail(fmt.Sprintf("an item of kind %d", it.Kind))
		return
	}
	if body.err == nil && len(body.b) > 0 {
		body.fail("bytes behind the fields of an item")
	}
	if body.err != nil {
		r.err, r.b = body.err, nil
	}
}

func (r *reader) batch(b *Batch) {
	b.Incarnation = Incarnation(r.uvarint())
	b.Number = r.uvarint()
	n := r.count(6)
	if cap(b.Ops) < n {
		b.Ops = make([]Op, n)
	}
	b.Ops = b.Ops[:n]
	for i := range b.Ops {
		r.op(&b.Ops[i], b.Incarnation)
	}
}

func (r *reader) op(o *Op, inc Incarnation) {
	*o = Op{Code: OpCode(r.byte()), Flags: Flags(r.byte())}
	if o.Code == OpInvalid || o.Code >= opCodes {
		r.fail(fmt.Sprintf("an op with code %d", o.Code))
		return
	}
	n := r.uvarint()
	if n == 0 || n > MaxConnNumber {
		r.fail("a connection number out of range")
		return
	}
	o.Conn = inc.Conn(uint32(n))
	o.Seq = r.uvarint()
	head := r.take(2)
	if head == nil {
		return
	}
	mask := binary.LittleEndian.Uint16(head)
	if mask&^hasAll != 0 {
		r.fail("an op with unknown fields")
		return
	}
	if mask&hasKey != 0 {
		o.Key = r.field()
	}
	if mask&^hasKey == 0 {
		return
	}
	for i, p := range [...]*[]byte{&o.Owner, &o.ID, &o.Note, &o.Name, &o.Value} {
		if mask&(hasOwner<<i) != 0 {
			*p = r.field()
		}
	}
	r.numbers(o, mask)
}

func (r *reader) numbers(o *Op, mask uint16) {
	if mask&hasLease != 0 {
		o.Lease = r.number()
	}
	if mask&hasTimeout != 0 {
		o.Timeout = r.number()
	}
	if mask&hasFence != 0 {
		o.Fence = uint64(r.number())
	}
	if mask&hasCount != 0 {
		o.Count = r.number()
	}
	if mask&hasTarget != 0 {
		o.Target = uint64(r.number())
	}
}

// field and number read what is there only because it is not empty.
func (r *reader) field() []byte {
	b := r.bytes()
	if len(b) == 0 {
		r.fail("an empty field")
	}
	return b
}

func (r *reader) number() int64 {
	v := r.varint()
	if v == 0 {
		r.fail("a field of 0")
	}
	return v
}
