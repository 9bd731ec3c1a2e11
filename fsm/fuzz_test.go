package fsm_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

// FuzzDecodeEntry: decoding never panics, and what decodes encodes to something
// that decodes the same.
func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte{})
	f.Add(fsm.AppendEntry(nil, 0, nil))
	f.Add(encodeEntry(5, []fsm.Keepalive{{Incarnation: 1, Number: 2, Contacts: []fsm.SessionID{3}, DiskFull: true, Seen: 4, HashIndex: 4096, Hash: 1 << 63}}, sampleItems()))
	f.Fuzz(func(t *testing.T, data []byte) {
		var a, b fsm.Entry
		if fsm.DecodeEntry(data, &a) != nil {
			return
		}
		again := encodeEntry(a.Time, a.Keepalives, a.Items)
		if items, err := fsm.EntryItems(again); err != nil || !bytes.Equal(fsm.AppendEntry(nil, a.Time, a.Keepalives, items), again) {
			t.Fatalf("the items of %x are %x, %v", again, items, err)
		}
		if err := fsm.DecodeEntry(again, &b); err != nil {
			t.Fatalf("%x decodes, its encoding %x does not: %v", data, again, err)
		}
		if show(a) != show(b) {
			t.Fatalf("%x decodes to\n%s, its encoding %x to\n%s", data, show(a), again, show(b))
		}
		if third := encodeEntry(b.Time, b.Keepalives, b.Items); !bytes.Equal(again, third) {
			t.Fatalf("%x encodes to %x and then to %x", data, again, third)
		}
		// Into an entry that held something else: nothing of that may stay.
		dirty := fsm.Entry{Keepalives: []fsm.Keepalive{{Number: 9, Contacts: []fsm.SessionID{9}}}, Items: sampleItems()}
		if err := fsm.DecodeEntry(data, &dirty); err != nil || !sameEntry(&a, &dirty) {
			t.Fatalf("%x decodes to %s into a used entry: %v, and to %s into a new one", data, show(dirty), err, show(a))
		}
	})
}

// sameEntry compares what counts: the field of an item that its kind names.
func sameEntry(a, b *fsm.Entry) bool {
	return a.Time == b.Time && bytes.Equal(encodeEntry(a.Time, a.Keepalives, a.Items), encodeEntry(b.Time, b.Keepalives, b.Items))
}

func sampleItems() []fsm.Item {
	return []fsm.Item{
		{Kind: fsm.ItemRegister, Register: fsm.Register{Node: "n1", Replaces: 7, Nonce: fsm.Nonce{1, 2, 3}, Disk: "d1", Announce: "10.0.0.1:7379"}},
		{Kind: fsm.ItemRemove, Remove: "n2"},
		{Kind: fsm.ItemBatch, Batch: fsm.Batch{Incarnation: 3, Number: 9, Ops: []fsm.Op{
			{Conn: fsm.Incarnation(3).Conn(1), Seq: 1, Code: fsm.OpOpen, Name: []byte("n"), Value: []byte("10.0.0.1:1")},
			{
				Conn: fsm.Incarnation(3).Conn(fsm.MaxConnNumber), Seq: 1 << 40, Code: fsm.OpTryLock, Flags: fsm.FlagAsync | fsm.FlagKeep,
				Key: []byte{0, 255}, Owner: []byte("o"), ID: []byte("i"), Note: []byte("note"), Lease: 1 << 53, Timeout: 1,
			},
			{Conn: fsm.Incarnation(3).Conn(2), Code: fsm.OpEnd},
			{Conn: fsm.Incarnation(3).Conn(2), Seq: 2, Code: fsm.OpLockScan, Fence: 1<<53 - 1, Count: 10, Target: 1 << 60},
		}}},
	}
}

// TestEntryRoundTrip: every field of every op comes back.
func TestEntryRoundTrip(t *testing.T) {
	items := sampleItems()
	keepalives := []fsm.Keepalive{{Incarnation: 1, Number: 1 << 50, Contacts: []fsm.SessionID{1, 1 << 53}, DiskFull: true, Seen: 1 << 60, HashIndex: 1 << 40, Hash: 1<<64 - 1}, {Incarnation: 2, Number: 1}}
	data := encodeEntry(1<<60, keepalives, items)
	e := fsm.Entry{Index: 5, Term: 6}
	if err := fsm.DecodeEntry(data, &e); err != nil {
		t.Fatal(err)
	}
	want := fsm.Entry{Index: 5, Term: 6, Time: 1 << 60, Keepalives: keepalives, Items: items}
	if !reflect.DeepEqual(e, want) {
		t.Fatalf("%s came back as %s", show(want), show(e))
	}
	for _, it := range items {
		one := encodeEntry(0, nil, []fsm.Item{it})[len(fsm.AppendEntry(nil, 0, nil)):]
		if got, err := fsm.DecodeItem(one); err != nil || !reflect.DeepEqual(got, it) {
			t.Fatalf("item %s came back as %s, %v", show(it), show(got), err)
		}
	}
	for n := range data {
		var cut fsm.Entry
		if fsm.DecodeEntry(data[:n], &cut) == nil && len(cut.Items) == len(items) {
			t.Fatalf("the first %d of %d bytes decode as a whole", n, len(data))
		}
	}
}

// FuzzProgram: whatever the ops, the machines agree with each other and with the
// reference model, and the invariants hold.
func FuzzProgram(f *testing.F) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, steps := range []int{1, 10, 60} {
		data := make([]byte, steps*stepSize)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 200*stepSize {
			return
		}
		p := newProgram(3)
		if err := p.run(data); err != nil {
			t.Fatalf("%v\n%s", err, lines(p.trace))
		}
	})
}

func lines(trace []string) string {
	var b bytes.Buffer
	for _, l := range trace {
		fmt.Fprintln(&b, l)
	}
	return b.String()
}

// FuzzApply: any entry that decodes can be applied, whatever its ids and numbers
// are; two machines and a reload agree on it.
func FuzzApply(f *testing.F) {
	f.Add(encodeEntry(2000, nil, sampleItems()))
	f.Add(encodeEntry(9000, []fsm.Keepalive{{Incarnation: 1, Number: 1}}, []fsm.Item{{Kind: fsm.ItemBatch, Batch: fsm.Batch{Incarnation: 1, Number: 1, Ops: []fsm.Op{
		{Conn: fsm.Incarnation(1).Conn(3), Seq: 1, Code: fsm.OpOpen},
		{Conn: fsm.Incarnation(1).Conn(3), Seq: 2, Code: fsm.OpSessionAttach, Name: []byte("pool")},
		{Conn: fsm.Incarnation(1).Conn(3), Seq: 3, Code: fsm.OpLock, Key: []byte("k")},
	}}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var e fsm.Entry
		if fsm.DecodeEntry(data, &e) != nil {
			return
		}
		w := newWorld(1)
		_, n, err := w.register("n1", 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		_, a := w.open(n, "a", "", "")
		_, b := w.open(n, "b", "", "")
		lock := fsm.Op{Conn: b.Conn, Seq: 2, Code: fsm.OpLock, Key: []byte("k")}
		items := []fsm.Item{n.batchOf(a, b, &lock)}
		if _, err := w.apply(2, 1, 1000, nil, items); err != nil {
			t.Fatal(err)
		}
		for i := range e.Items { // so that more of them get past the numbering
			if it := &e.Items[i]; it.Kind == fsm.ItemBatch && it.Batch.Number%4 != 3 {
				it.Batch.Incarnation, it.Batch.Number = n.inc, uint64(i+2)
				for j := range it.Batch.Ops {
					op := &it.Batch.Ops[j]
					op.Conn = n.inc.Conn(1 + op.Conn.Number()%4)
					sanitize(op)
				}
			} else if it.Kind == fsm.ItemBatch {
				it.Batch.Ops = nil
			}
		}
		w.time = max(e.Time%(1<<50), 1000)
		if _, err := w.apply(3, 1, w.time, e.Keepalives, e.Items); err != nil {
			t.Fatal(err)
		}
		if _, err := w.apply(4, 2, w.time+100_000, nil, nil); err != nil {
			t.Fatal(err)
		}
	})
}

// sanitize brings an op into the ranges of COMMANDS.md, which commands enforces.
func sanitize(op *fsm.Op) {
	if len(op.Key) == 0 || len(op.Key) > 512 {
		op.Key = []byte("k")
	}
	op.Lease, op.Timeout = max(op.Lease, 0)%(1<<53), max(op.Timeout, 0)%(1<<53)
	if op.Code == fsm.OpRenew || op.Flags&fsm.FlagKeep != 0 {
		op.Lease = max(op.Lease, 1)
	}
	if op.Flags&fsm.FlagKeep != 0 {
		op.Owner = nil
	}
	if op.Flags&fsm.FlagAsync != 0 && len(op.ID) == 0 {
		op.ID = []byte("1")
	}
	if op.Code == fsm.OpSessionAttach {
		op.Lease = min(max(op.Lease, 1000), 86_400_000)
		if len(op.Name) == 0 {
			op.Name = []byte("pool")
		}
	}
	if op.Code == fsm.OpEnd {
		op.Seq = 0
	} else {
		op.Seq %= 8
	}
}

// richRecords are the records of a state with something of every kind.
var richRecords = sync.OnceValue(func() []fsm.Record {
	s := newStory()
	for _, line := range []string{
		"open c1 c2 c3 name=web addr=10.0.0.1:5", "open d1 d2 node=n2", "c1: SESSION ATTACH pool TTL 5000", "c2: SESSION ATTACH pool",
		"d1: SESSION ATTACH beat HEARTBEAT", "c1: LOCK a OWNER x ID 1 LEASE 60000 NOTE hello", "c2: LOCK b ID 2", "c3: LOCK a OWNER y", "d2: LOCK c",
		"d1: LOCK c OWNER z ID 1 ASYNC", "d1: LOCK e LEASE 90000 KEEP ID 5", "c2: LOCK f LEASE 1", "tick +1", "c2: DESTROY gone NOTE why",
		"c2: CONFIG SET lock-acquire-limit orders:*=1", "c2: CONFIG SET fence-floor 100", "c2: LOCK c OWNER w ID 9 ASYNC", "c1: SESSION ATTACH other",
		"c1: LOCK d", "d2: SESSION KILL other", "keepalive n2 full", "c2: TRYLOCK c OWNER v ID 10 TIMEOUT 90000", "close c2",
	} {
		if err := s.line(line); err != nil {
			panic(fmt.Sprintf("%s: %v", line, err))
		}
	}
	var all []fsm.Record
	s.m.Records(func(r fsm.Record) bool {
		all = append(all, fsm.Record{Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)})
		return true
	})
	return all
})

// FuzzLoad: damaged records are an error, or make a machine whose invariants hold,
// and that goes on working. The input is a list of edits of four bytes: which
// record, which byte of it, what to do, with what; behind a 0 come raw records.
func FuzzLoad(f *testing.F) {
	f.Add([]byte{})
	for i := range byte(len(richRecords())) {
		f.Add([]byte{1 + i, 3, 0, 1})
		f.Add([]byte{1 + i, 0, 3, 0})
		f.Add([]byte{1 + i, 5, 1, 255, 1 + i, 9, 2, 7})
	}
	f.Add([]byte{0, 1, 2, 'm', 1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		records := damaged(data)
		m := fsm.New()
		err := m.Load(func(yield func(fsm.Record) bool) {
			for _, r := range records {
				if !yield(r) {
					return
				}
			}
		})
		if err != nil {
			if i, _ := m.Applied(); i != 0 || m.CheckInvariants() != nil {
				t.Fatalf("after a failed load (%v) the machine is at %d: %v", err, i, m.CheckInvariants())
			}
			return
		}
		if err := m.CheckInvariants(); err != nil {
			t.Fatalf("loaded, but: %v", err)
		}
		index, term := m.Applied()
		if index > 1<<60 || m.Now() > 1<<60 {
			return
		}
		e := fsm.Entry{Index: index + 1, Term: term + 1, Time: m.Now() + 100_000}
		m.Apply(&e)
		if err := m.CheckInvariants(); err != nil {
			t.Fatalf("loaded, and after 100 s: %v", err)
		}
		if _, err := m.Recover(0); err == nil {
			err = m.CheckInvariants()
			if c := m.Stats().Connections; err != nil || c > 0 {
				t.Fatalf("recovered, with %d connections: %v", c, err)
			}
		}
	})
}

// damaged carries out the edits of FuzzLoad's input on the rich state's records.
func damaged(data []byte) []fsm.Record {
	var records []fsm.Record
	for _, r := range richRecords() {
		records = append(records, fsm.Record{Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)})
	}
	for len(data) >= 4 && data[0] != 0 {
		i := int(data[0]-1) % len(records)
		at, what, with := int(data[1]), data[2], data[3]
		part := &records[i].Value
		if what&4 != 0 {
			part = &records[i].Key
		}
		if what&3 == 3 { // leave the record out
			records = append(records[:i], records[i+1:]...)
			if len(records) == 0 {
				return records
			}
		} else if len(*part) > 0 {
			at %= len(*part)
			switch what & 3 {
			case 0:
				(*part)[at] += with
			case 1:
				*part = append((*part)[:at:at], append([]byte{with}, (*part)[at:]...)...)
			case 2:
				*part = append((*part)[:at:at], (*part)[at+1:]...)
			}
		}
		data = data[4:]
	}
	if len(data) == 0 || data[0] != 0 {
		return records
	}
	records = nil
	for data = data[1:]; len(data) > 2; {
		k, v := int(data[0]), int(binary.LittleEndian.Uint16(data[:2])>>8)
		data = data[2:]
		k, v = min(k, len(data)), min(v, max(0, len(data)-k))
		records = append(records, fsm.Record{Key: data[:k], Value: data[k : k+v]})
		data = data[k+v:]
	}
	return records
}
