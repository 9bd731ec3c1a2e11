package fsm_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/redlockd/redlockd/fsm"
)

func encodeEntry(time int64, keepalives []fsm.Keepalive, items []fsm.Item) []byte {
	parts := make([][]byte, 0, len(items))
	for i := range items {
		switch it := &items[i]; it.Kind {
		case fsm.ItemRegister:
			parts = append(parts, fsm.AppendRegister(nil, &it.Register))
		case fsm.ItemRemove:
			parts = append(parts, fsm.AppendRemove(nil, it.Remove))
		case fsm.ItemBatch:
			ops := make([]*fsm.Op, len(it.Batch.Ops))
			for j := range ops {
				ops[j] = &it.Batch.Ops[j]
			}
			parts = append(parts, fsm.AppendBatch(nil, it.Batch.Incarnation, it.Batch.Number, ops))
		}
	}
	return fsm.AppendEntry(nil, time, keepalives, parts...)
}

// checkRoundTrip decodes data, encodes the result and wants the same bytes.
func checkRoundTrip(data []byte, index, term uint64) error {
	e := fsm.Entry{Index: index, Term: term}
	if err := fsm.DecodeEntry(data, &e); err != nil {
		return fmt.Errorf("decode an entry that AppendEntry made: %w", err)
	}
	if e.Index != index || e.Term != term {
		return fmt.Errorf("DecodeEntry changed index and term to (%d, %d)", e.Index, e.Term)
	}
	if again := encodeEntry(e.Time, e.Keepalives, e.Items); !bytes.Equal(again, data) {
		return fmt.Errorf("entry %x encodes again as %x", data, again)
	}
	return nil
}

// sameEffects compares all fields; an empty slice is as good as nil.
func sameEffects(a, b *fsm.Effects) error {
	va, vb := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for i := range va.NumField() {
		fa, fb := va.Field(i), vb.Field(i)
		if fa.Kind() == reflect.Slice && fa.Len() == 0 && fb.Len() == 0 {
			continue
		}
		if !reflect.DeepEqual(fa.Interface(), fb.Interface()) {
			return fmt.Errorf("%s: %s and %s", va.Type().Field(i).Name, show(fa.Interface()), show(fb.Interface()))
		}
	}
	return nil
}

// show prints anything of the machine with what its pointers point to.
func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%+v", v)
	}
	return string(b)
}
