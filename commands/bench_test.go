package commands

import (
	"testing"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/resp"
)

func hotLines() map[string][][]byte {
	lines := map[string][][]byte{}
	for name, line := range map[string][]string{
		"lock":    {"lock", "orders:42"},
		"LEASE":   {"LOCK", "orders:42", "LEASE", "30000", "OWNER", "worker-1", "ID", "4f1c"},
		"trylock": {"TRYLOCK", "orders:42", "TIMEOUT", "2000", "LEASE", "30000"},
		"unlock":  {"UNLOCK", "orders:42", "FENCE", "123456"},
	} {
		lines[name] = byteArgs(line)
	}
	return lines
}

// run parses a command and phrases its reply, as the path of one LOCK does.
func runHot(table *Table, args [][]byte, op *fsm.Op, w *resp.Writer, r *fsm.Reply) {
	s, _ := table.resolve(args)
	*op = fsm.Op{}
	if p := s.parse(args, op); p != noProblem {
		panic(p)
	}
	s.phrase(w, op, r)
}

// TestHotPathDoesNotAllocate: parsing and phrasing of LOCK and UNLOCK.
func TestHotPathDoesNotAllocate(t *testing.T) {
	table, op, r := NewTable(), &fsm.Op{}, &fsm.Reply{Int: 123456}
	for name, args := range hotLines() {
		w := resp.NewWriter(2)
		w.Raw(make([]byte, 1<<20)) // room, so that the buffer's growth is not counted
		if n := testing.AllocsPerRun(1000, func() { runHot(table, args, op, w, r) }); n > 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkParseAndPhrase(b *testing.B) {
	table, op, r := NewTable(), &fsm.Op{}, &fsm.Reply{Int: 123456}
	for name, args := range hotLines() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			w := resp.NewWriter(2)
			for i := 0; b.Loop(); i++ {
				if i&0xffff == 0 {
					w = resp.NewWriter(2)
				}
				runHot(table, args, op, w, r)
			}
		})
	}
}
