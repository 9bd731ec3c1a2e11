package sessions

import (
	"slices"
	"sync/atomic"

	"github.com/redlockd/redlockd/fsm"
)

// later is what was taken out of the cluster's queue, is waited for by no
// client, and must still come to pass: it goes out when the next entry shows that
// entries are applied again.
type later struct {
	any   atomic.Bool
	conns []*Conn   // that hold silent ops; under Table.mu, as ends
	ends  []*fsm.Op // of connections: else their locks would stay held
}

func (t *Table) resumeConn(c *Conn) {
	t.mu.Lock()
	if n := len(t.later.conns); n >= 2*len(t.all) && n > 0 { // clients come and go while there is no leader
		t.later.conns = slices.DeleteFunc(t.later.conns, func(c *Conn) bool { _, open := t.all[c]; return !open })
	}
	t.later.conns = append(t.later.conns, c)
	t.later.any.Store(true)
	t.mu.Unlock()
}

func (t *Table) resumeEnd(op *fsm.Op) {
	t.mu.Lock()
	if op.Conn.Incarnation() == t.inc {
		t.later.ends = append(t.later.ends, op)
		t.later.any.Store(true)
	}
	t.mu.Unlock()
}

// resume proposes what was put off.
func (t *Table) resume() {
	t.mu.Lock()
	inc, conns, ends := t.inc, t.later.conns, t.later.ends
	t.later.conns, t.later.ends = nil, nil
	t.later.any.Store(false)
	t.mu.Unlock()
	for _, c := range conns {
		c.mu.Lock()
		c.later = false
		c.again()
		c.mu.Unlock()
	}
	for i, op := range ends {
		if op.Conn.Incarnation() == inc {
			t.node().Propose(ends[i : i+1])
		}
	}
}
