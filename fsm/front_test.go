package fsm_test

import (
	"fmt"

	"github.com/redlockd/redlockd/fsm"
)

// node plays one node's front end: it numbers batches, keepalives and
// connections of the incarnation that it last got.
type node struct {
	name  string
	inc   fsm.Incarnation
	batch uint64 // the last number sent
	ka    uint64
	conns uint32
	nonce byte
	last  fsm.Item // the last batch sent, for sending it again
	full  bool     // its disk, as its keepalives say
}

// conn plays one client connection and remembers what has no answer yet.
type conn struct {
	name    string
	id      fsm.ConnID
	node    *node
	seq     uint64
	closed  bool
	pending []*fsm.Op // sent, not answered, in order; a waiting op is the first
	refused []*fsm.Op // to be proposed again when the wait has been answered
}

// world is a log with its pair of machines, the nodes and their connections.
type world struct {
	*pair
	index, term uint64
	time        int64
	nodes       map[string]*node
	conns       map[fsm.ConnID]*conn
	// answered says which addresses had their reply: none may have two.
	answered map[fsm.Address]bool
}

func newWorld(reload int) *world {
	return &world{
		pair: newPair(reload), term: 1, time: 1000, nodes: map[string]*node{}, conns: map[fsm.ConnID]*conn{},
		answered: map[fsm.Address]bool{},
	}
}

// entry applies one entry at the present time and checks that each op has
// exactly one fate.
func (w *world) entry(keepalives []fsm.Keepalive, items ...fsm.Item) (*fsm.Effects, error) {
	w.index++
	eff, err := w.apply(w.index, w.term, w.time, keepalives, items)
	if err != nil {
		return nil, err
	}
	return eff, w.settle(eff, items)
}

// settle books replies, refusals and closed connections.
func (w *world) settle(eff *fsm.Effects, items []fsm.Item) error {
	fate := map[fsm.Address]bool{}
	for i := range eff.Replies {
		r := &eff.Replies[i]
		if r.Seq == 0 {
			continue
		}
		a := fsm.Address{Conn: r.Conn, Seq: r.Seq}
		if w.answered[a] {
			return fmt.Errorf("op %v is answered twice: %s", a, show(r))
		}
		w.answered[a], fate[a] = true, true
		if (r.Code == fsm.CodeOK) != (r.Detail == nil) {
			return fmt.Errorf("reply %s: detail is for errors, and for each of them", show(r))
		}
		if r.Code == fsm.CodeClusterDown || r.Code == fsm.CodeUncertain {
			return fmt.Errorf("reply %s: this code never comes from the machine", show(r))
		}
		if c := w.conns[r.Conn]; c != nil {
			if len(c.pending) > 0 && c.pending[0].Seq < r.Seq && c.pending[0].Code != fsm.OpOpen {
				return fmt.Errorf("connection %s: op %d is answered before op %d", c.name, r.Seq, c.pending[0].Seq)
			}
			c.drop(r.Seq)
		}
	}
	for _, a := range eff.Refused {
		if fate[a] {
			return fmt.Errorf("op %v is refused and answered, or refused twice", a)
		}
		fate[a] = true
		if c := w.conns[a.Conn]; c != nil {
			if op := c.drop(a.Seq); op != nil {
				c.refused = append(c.refused, op)
			}
		}
	}
	for _, ev := range eff.Events {
		if c := w.conns[ev.Conn]; c != nil && (ev.Kind == fsm.EventClose || ev.Kind == fsm.EventUnknown) {
			c.close()
		}
	}
	w.endIncarnations(eff)
	return w.checkFates(eff, items, fate)
}

func (w *world) endIncarnations(eff *fsm.Effects) {
	for _, inc := range eff.Ended {
		for _, c := range w.conns {
			if c.id.Incarnation() == inc {
				c.close()
			}
		}
	}
}

// checkFates wants an answer, a refusal or a wait for every op of an applied batch.
func (w *world) checkFates(eff *fsm.Effects, items []fsm.Item, fate map[fsm.Address]bool) error {
	n := 0
	for i := range items {
		if items[i].Kind != fsm.ItemBatch {
			continue
		}
		b := &items[i].Batch
		if n >= len(eff.Batches) || eff.Batches[n].Number != b.Number || eff.Batches[n].Incarnation != b.Incarnation {
			return fmt.Errorf("batch %d of incarnation %d has no result in %s", b.Number, b.Incarnation, show(eff.Batches))
		}
		status := eff.Batches[n].Status
		n++
		for j := range b.Ops {
			op := &b.Ops[j]
			a := fsm.Address{Conn: op.Conn, Seq: op.Seq}
			c := w.conns[op.Conn]
			if status != fsm.BatchApplied || op.Seq == 0 || fate[a] || op.Code == fsm.OpOpen || op.Code == fsm.OpDescribe {
				continue
			}
			// A TRYLOCK without TIMEOUT may rejoin the place of the same request with one.
			rejoins := op.Code == fsm.OpTryLock && len(op.ID) > 0 && op.Flags&fsm.FlagAsync == 0
			if op.Waits() || rejoins || c == nil || c.closed {
				continue
			}
			return fmt.Errorf("op %s of %s, seq %d, has no answer, no refusal and does not wait", opText(op), c.name, op.Seq)
		}
	}
	return nil
}

// drop takes the op with this sequence out of what has no answer.
func (c *conn) drop(seq uint64) *fsm.Op {
	for i, op := range c.pending {
		if op.Seq == seq {
			c.pending = append(c.pending[:i], c.pending[i+1:]...)
			return op
		}
	}
	return nil
}

// close forgets what was under way: nobody is there to read it.
func (c *conn) close() { c.closed, c.pending, c.refused = true, nil, nil }

// waits reports whether an op of the connection has no answer yet.
func (c *conn) waits() bool { return len(c.pending) > 0 }

func (w *world) register(name string, replaces fsm.Incarnation, nonce byte) (*fsm.Effects, *node, error) {
	n := w.nodes[name]
	if n == nil {
		n = &node{name: name}
		w.nodes[name] = n
	}
	n.nonce = nonce
	eff, err := w.entry(nil, fsm.Item{Kind: fsm.ItemRegister, Register: fsm.Register{Node: name, Replaces: replaces, Nonce: fsm.Nonce{nonce}}})
	if err != nil {
		return nil, nil, err
	}
	if len(eff.Registered) != 1 || eff.Registered[0].Node != name || eff.Registered[0].Nonce != (fsm.Nonce{nonce}) {
		return nil, nil, fmt.Errorf("a registration is answered by %s", show(eff.Registered))
	}
	if inc := eff.Registered[0].Incarnation; inc != 0 && inc != n.inc {
		n = &node{name: name, inc: inc, nonce: nonce} // connections keep the old one
		w.nodes[name] = n
	}
	return eff, n, nil
}

// open makes a connection and its OpOpen, which goes with the next batch.
func (w *world) open(n *node, name, client, addr string) (*conn, *fsm.Op) {
	n.conns++
	c := &conn{name: name, id: n.inc.Conn(n.conns), node: n}
	w.conns[c.id] = c
	op := c.next(fsm.Op{Code: fsm.OpOpen})
	if client != "" {
		op.Name = []byte(client)
	}
	if addr != "" {
		op.Value = []byte(addr)
	}
	return c, op
}

// next gives op the connection's address.
func (c *conn) next(op fsm.Op) *fsm.Op {
	c.seq++
	op.Conn, op.Seq = c.id, c.seq
	if op.Code != fsm.OpOpen && op.Code != fsm.OpDescribe && !c.closed {
		c.pending = append(c.pending, &op)
	}
	return &op
}

// batchOf makes the node's next batch.
func (n *node) batchOf(ops ...*fsm.Op) fsm.Item {
	n.batch++
	it := fsm.Item{Kind: fsm.ItemBatch, Batch: fsm.Batch{Incarnation: n.inc, Number: n.batch}}
	for _, op := range ops {
		it.Batch.Ops = append(it.Batch.Ops, *op)
	}
	n.last = it
	return it
}

// again takes what was refused and may be proposed now, in order.
func (w *world) again(c *conn) []*fsm.Op {
	if c.closed || len(c.refused) == 0 || c.waits() {
		return nil
	}
	ops := c.refused
	c.refused = nil
	c.pending = append(c.pending, ops...)
	return ops
}
