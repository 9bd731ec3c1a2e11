package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redlockd/redlockd/fsm"
)

// internalOps is the node's own connection of an incarnation, number
// fsm.MaxConnNumber: it opens, sets the cluster settings that were given by
// flags and differ from the state, and ends, all in one batch, ahead of what
// clients send. It belongs to agent.mu.
type internalOps struct {
	// want are the settings given by flags. current reads the machine; it is
	// called by the apply goroutine.
	want    map[string]string
	current func(name string) (value string, ok bool)

	names   []string // what was proposed, by sequence from 2
	pending bool     // proposed, not all answered
	done    bool
	errs    []string
	settled chan struct{} // closed when done
}

// ops returns what is to be proposed in a new incarnation; nil when there is nothing to set.
func (n *internalOps) ops(inc fsm.Incarnation) []*fsm.Op {
	if n.done {
		return nil
	}
	n.names, n.errs = n.names[:0], nil
	conn := inc.Conn(fsm.MaxConnNumber)
	ops := []*fsm.Op{{Conn: conn, Seq: 1, Code: fsm.OpOpen, Name: []byte("redlockd"), Value: []byte("internal")}}
	for _, name := range slices.Sorted(maps.Keys(n.want)) {
		if n.inForce(name) {
			continue
		}
		n.names = append(n.names, name)
		ops = append(ops, &fsm.Op{Conn: conn, Seq: uint64(len(ops)) + 1, Code: fsm.OpConfigSet, Name: []byte(name), Value: []byte(n.want[name])})
	}
	if len(n.names) == 0 {
		n.finish()
		return nil
	}
	n.pending = true
	return append(ops, &fsm.Op{Conn: conn, Code: fsm.OpEnd})
}

// inForce reports whether the state has what was asked for. The fence-floor only rises:
// a higher one, of a restore or another node, is what the options ask for, and more.
func (n *internalOps) inForce(name string) bool {
	is, ok := n.current(name)
	if !ok || name != fsm.SettingFenceFloor {
		return ok && is == n.want[name]
	}
	floor, err := strconv.ParseUint(is, 10, 64)
	want, werr := strconv.ParseUint(n.want[name], 10, 64)
	return err == nil && werr == nil && want <= floor
}

// lost: the incarnation ended before all was answered; the next one asks again.
func (n *internalOps) lost() { n.pending = false }

// installed takes in that the state was replaced: the answers may lie in what was
// skipped, so the state says what became of the settings.
func (n *internalOps) installed() {
	if !n.pending {
		return
	}
	n.errs = nil
	for _, name := range n.names {
		if !n.inForce(name) {
			n.errs = append(n.errs, fmt.Sprintf("%s=%s: it did not come into force", name, n.want[name]))
		}
	}
	n.finish()
}

func (n *internalOps) finish() {
	n.pending, n.done = false, true
	close(n.settled)
}

// observe looks for the answers.
func (n *internalOps) observe(eff *fsm.Effects, inc fsm.Incarnation) {
	if !n.pending {
		return
	}
	conn := inc.Conn(fsm.MaxConnNumber)
	for i := range eff.Replies {
		r := &eff.Replies[i]
		if r.Conn != conn || r.Seq < 2 || r.Seq > uint64(len(n.names))+1 {
			continue
		}
		name := n.names[r.Seq-2]
		if r.Code != fsm.CodeOK && !n.inForce(name) {
			why := "the cluster refused it"
			if r.Detail != nil && r.Detail.Text != "" {
				why = r.Detail.Text
			}
			n.errs = append(n.errs, fmt.Sprintf("%s=%s: %s", name, n.want[name], why))
		}
		if r.Seq == uint64(len(n.names))+1 {
			n.finish()
			return
		}
	}
}

// err returns what the cluster said to the settings; call it after settled is closed.
func (n *internalOps) err() error {
	if len(n.errs) == 0 {
		return nil
	}
	return fmt.Errorf("cluster: cluster settings were refused: %s", strings.Join(n.errs, "; "))
}
