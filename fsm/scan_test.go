package fsm

import (
	"bytes"
	"fmt"
	"testing"
)

// TestScanCost: a page of LOCKSCAN does not take long, whatever its pattern, for all
// nodes stand still meanwhile; and the pages together have every hold, all the same.
func TestScanCost(t *testing.T) {
	const holds = 100
	m, index, number, seq := New(), uint64(0), uint64(0), uint64(0)
	apply := func(items ...Item) *Effects {
		index++
		return m.Apply(&Entry{Index: index, Term: 1, Time: 1, Items: items})
	}
	inc := apply(Item{Kind: ItemRegister, Register: Register{Node: "n", Nonce: Nonce{1}}}).Registered[0].Incarnation
	do := func(o Op) *Effects {
		number++
		seq++
		o.Conn, o.Seq = inc.Conn(1), seq
		return apply(Item{Kind: ItemBatch, Batch: Batch{Incarnation: inc, Number: number, Ops: []Op{o}}})
	}
	do(Op{Code: OpOpen})
	long := bytes.Repeat([]byte("a"), 512-3)
	for i := range holds {
		do(Op{Code: OpLock, Key: fmt.Appendf(long, "%03d", i)})
	}
	glob := append([]byte{'*'}, bytes.Repeat([]byte("?"), 512)...)
	for len(glob) < 1024 {
		glob = append(glob, '*')
	}
	for _, v := range []struct {
		name  string
		glob  []byte
		pages int
	}{{"every hold", nil, 1}, {"a short pattern", []byte("*7?"), 1}, {"the longest pattern", glob, 5}} {
		want := 0
		for _, l := range m.locks {
			if len(v.glob) == 0 || match(string(v.glob), l.key) {
				want++
			}
		}
		found, pages := map[string]bool{}, 0
		for cursor := uint64(0); pages == 0 || cursor != 0; pages++ {
			page := do(Op{Code: OpLockScan, Fence: cursor, Count: 1 << 40, Name: v.glob}).Replies[0].Data.(*ScanPage)
			for _, key := range page.Keys {
				found[key] = true
			}
			cursor = page.Cursor
		}
		if pages != v.pages || len(found) != want {
			t.Errorf("%s: %d keys in %d pages, want %d in %d", v.name, len(found), pages, want, v.pages)
		}
	}
}
