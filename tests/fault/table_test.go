package fault

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// counts are what happened in a load so far.
type counts struct{ answered, leaders, sessions int64 }

func (l *load) counts() counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return counts{l.answered.Load(), int64(len(l.terms)), l.ended.Load()}
}

func (c counts) less(d counts) counts {
	return counts{c.answered - d.answered, c.leaders - d.leaders, c.sessions - d.sessions}
}

// tally is all that one kind of fault did in a run.
type tally struct {
	faults int
	served []time.Duration // how long after a fault, or its end, all live nodes of a majority granted locks
	counts
}

func (t *tally) add(o *tally) {
	t.faults += o.faults
	t.served = append(t.served, o.served...)
	t.answered += o.answered
	t.leaders += o.leaders
	t.sessions += o.sessions
}

func (t *tally) most() time.Duration { return slices.Max(append([]time.Duration{0}, t.served...)) }

func (t *tally) median() time.Duration {
	served := append(slices.Sorted(slices.Values(t.served)), 0)
	return served[(len(served)-1)/2]
}

// count notes a fault that is over. One after which nobody looked whether locks are granted proves nothing.
func (r *run) count(kind string, served []time.Duration, c counts) {
	if len(served) == 0 {
		r.t.Errorf("%s: nobody looked whether locks were granted after it", kind)
	}
	if r.tallies[kind] == nil {
		r.tallies[kind] = &tally{}
	}
	r.tallies[kind].add(&tally{1, served, c})
}

// table tells what each kind of fault did, and all together, as docs/guarantees.md quotes it.
func (r *run) table() string {
	var text strings.Builder
	out := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "faults\tno service, median\tmost\tanswered\tleader changes\tsessions ended\t  kind")
	row := func(name string, t *tally) {
		fmt.Fprintf(out, "%d\t%v\t%v\t%d\t%d\t%d\t  %s\n", t.faults, t.median(), t.most(), t.answered, t.leaders, t.sessions, name)
	}
	sum := &tally{}
	for _, kind := range slices.SortedFunc(maps.Keys(r.tallies), func(a, b string) int {
		return cmp.Or(cmp.Compare(r.tallies[b].most(), r.tallies[a].most()), cmp.Compare(a, b))
	}) {
		row(kind, r.tallies[kind])
		sum.add(r.tallies[kind])
	}
	row("all", sum)
	_ = out.Flush() // a Builder takes all
	return text.String()
}

// look notes the term of a node that leads, and the state hash that a node tells.
func (l *load) look(node *harness.Node, conn *harness.Conn) error {
	if err := conn.Send("INFO", "raft"); err != nil {
		return err
	}
	v, err := conn.ReceiveWithin(time.Second)
	if err != nil {
		return err
	}
	fields := harness.Fields(v.Text)
	if index, err := strconv.ParseUint(fields["state_hash_index"], 10, 64); err == nil && index > 0 {
		l.h.Hash(node.ID, index, fields["state_hash"])
	}
	if fields["raft_role"] == "leader" {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.terms[fields["term"]] = true
	}
	return nil
}

// TestTable checks what is quoted from a run.
func TestTable(t *testing.T) {
	r := &run{t: t, tallies: map[string]*tally{}}
	before := counts{answered: 100, leaders: 1, sessions: 4}
	r.count("kill", []time.Duration{time.Second, 3 * time.Millisecond}, counts{150, 2, 9}.less(before))
	r.count("kill", []time.Duration{20 * time.Millisecond}, counts{answered: 10})
	r.count("cut", []time.Duration{2 * time.Second}, counts{answered: 7, leaders: 3, sessions: 2})
	var rows []string
	for line := range strings.Lines(r.table()) {
		rows = append(rows, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"faults no service, median most answered leader changes sessions ended kind",
		"1 2s 2s 7 3 2 cut",
		"2 20ms 1s 60 1 5 kill",
		"3 1s 2s 67 4 7 all",
	}
	if !slices.Equal(rows, want) {
		t.Errorf("the table:\n%s\nwant\n%s", strings.Join(rows, "\n"), strings.Join(want, "\n"))
	}
}
