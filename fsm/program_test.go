package fsm_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/redlockd/redlockd/fsm"
)

// stepSize is how many bytes of a program make one entry. Whatever the bytes
// are, they mean something, so a fuzzer and a shrinker may cut as they like.
const stepSize = 64

// program interprets bytes as the life of a small cluster: connections, ops, time,
// failures. Each entry goes to two machines and to the reference model.
type program struct {
	*world
	model *model
	names []string // of nodes
	live  []*conn  // in the order in which they were opened
	in    []byte   // what is left of the step
	trace []string
	codes map[fsm.Code]int // how often each was answered
}

func newProgram(reload int) *program {
	p := &program{world: newWorld(reload), model: newModel(), names: []string{"n1", "n2"}, codes: map[fsm.Code]int{}}
	p.index = fsm.HashEvery - 200 // so that the hashes are compared on the way
	return p
}

// run carries out the bytes, a step each stepSize of them.
func (p *program) run(data []byte) error {
	for i := 0; len(data) > 0; i++ {
		n := min(stepSize, len(data))
		p.in, data = data[:n], data[n:]
		if err := p.step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// pick takes a number below n from the step; 0 when it is used up.
func (p *program) pick(n int) int {
	if len(p.in) == 0 {
		return 0
	}
	b := p.in[0]
	p.in = p.in[1:]
	return int(b) * n / 256
}

// of picks one of the words; repeat a word to have it more often.
func of[T any](p *program, words ...T) T { return words[p.pick(len(words))] }

func (p *program) step() error {
	p.passTime()
	n := p.node()
	switch p.pick(24) {
	case 0:
		return p.registerStep()
	case 1:
		p.term++
		return p.apply("term", nil)
	case 2, 3:
		return p.apply("tick", p.vouch())
	case 4:
		return p.oddBatch(n)
	case 5, 6, 7:
		return p.openStep(n)
	case 8:
		return p.endStep(p.conn(n))
	default:
		return p.opStep(n)
	}
}

func (p *program) endStep(c *conn) error {
	if c == nil {
		return p.apply("nothing", nil)
	}
	c.close()
	p.live = slices.DeleteFunc(p.live, func(x *conn) bool { return x == c })
	return p.apply("end "+c.name, nil, c.node.batchOf(&fsm.Op{Conn: c.id, Code: fsm.OpEnd}))
}

// passTime lets time go by: mostly little, now and then enough for something to end.
func (p *program) passTime() {
	switch p.pick(16) {
	case 0, 1, 2, 3:
		p.time += int64(1 + p.pick(20))
	case 4, 5, 6:
		p.time += int64(10 * p.pick(50))
	case 7:
		p.time += int64(100 * p.pick(60))
	case 8:
		p.time += of(p, int64(999), 1000, 2500, 5000, 9999, 10_000)
	}
}

func (p *program) node() *node {
	name := p.names[p.pick(len(p.names))]
	if n := p.nodes[name]; n != nil {
		return n
	}
	if err := p.registerNode(name, 0, 1); err != nil {
		panic(err) // an empty machine refuses no node
	}
	return p.nodes[name]
}

func (p *program) conn(n *node) *conn {
	var mine []*conn
	for _, c := range p.live {
		if c.node == n {
			mine = append(mine, c)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	c := mine[p.pick(len(mine))]
	for range 3 { // mostly one that does not wait
		if !c.waits() {
			break
		}
		c = mine[p.pick(len(mine))]
	}
	return c
}

// vouch makes keepalives of most nodes, repeated ones among them.
func (p *program) vouch() []fsm.Keepalive {
	var ks []fsm.Keepalive
	for _, name := range p.names {
		n := p.nodes[name]
		if n == nil || p.pick(8) == 0 {
			continue
		}
		if p.pick(6) > 0 {
			n.ka++
		}
		k := fsm.Keepalive{Incarnation: n.inc, Number: n.ka, DiskFull: p.pick(20) == 19}
		if p.pick(4) > 0 {
			k.Seen = max(0, p.model.now-int64(p.pick(6000)*p.pick(2)))
		}
		for _, name := range []string{"pool", "web"} {
			if s := p.model.named[name]; s != nil && s.live && p.pick(2) == 0 {
				k.Contacts = append(k.Contacts, s.id)
			}
		}
		ks = append(ks, k)
	}
	return ks
}

func (p *program) registerStep() error {
	name := p.names[p.pick(len(p.names))]
	inc, nonce := fsm.Incarnation(0), byte(1)
	if n := p.nodes[name]; n != nil {
		inc, nonce = n.inc, n.nonce+1
		switch p.pick(6) {
		case 0:
		case 1, 2:
			nonce = n.nonce // the same attempt again
		default:
			inc++ // refused
		}
	}
	return p.registerNode(name, inc, nonce)
}

func (p *program) registerNode(name string, replaces fsm.Incarnation, nonce byte) error {
	n := p.nodes[name]
	refuse := n == nil && replaces != 0 || n != nil && n.inc != replaces && n.nonce != nonce
	it := fsm.Item{Kind: fsm.ItemRegister, Register: fsm.Register{Node: name, Replaces: replaces, Nonce: fsm.Nonce{nonce}}}
	if err := p.applyOnce(fmt.Sprintf("register %s replaces=%d nonce=%d", name, replaces, nonce), nil, it); err != nil {
		return err
	}
	r := p.first.Registered
	if len(r) != 1 || (r[0].Incarnation == 0) != refuse {
		return fmt.Errorf("a registration is answered by %s", show(r))
	}
	if inc := r[0].Incarnation; inc != 0 && (n == nil || inc != n.inc) {
		p.nodes[name] = &node{name: name, inc: inc, nonce: nonce}
	}
	return p.proposeAgain()
}

// oddBatch sends a batch again, or one too early, or one of an ended incarnation.
func (p *program) oddBatch(n *node) error {
	switch it := n.last; p.pick(3) {
	case 0:
		if it.Kind == fsm.ItemInvalid {
			break
		}
		return p.apply("again", nil, it)
	case 1:
		it = fsm.Item{Kind: fsm.ItemBatch, Batch: fsm.Batch{Incarnation: n.inc, Number: n.batch + 2}}
		return p.apply("early", nil, it)
	}
	it := fsm.Item{Kind: fsm.ItemBatch, Batch: fsm.Batch{Incarnation: n.inc + 50, Number: 1, Ops: []fsm.Op{{Conn: (n.inc + 50).Conn(1), Seq: 1, Code: fsm.OpOpen}}}}
	return p.apply("ended", nil, it)
}

func (p *program) openStep(n *node) error {
	if len(p.live) >= 8 {
		return p.opStep(n)
	}
	c, op := p.open(n, fmt.Sprintf("c%d.%d", n.inc, n.conns+1), "", "")
	p.live = append(p.live, c)
	ops := []*fsm.Op{op}
	if p.pick(2) == 0 {
		ops = append(ops, c.next(fsm.Op{Code: fsm.OpSessionAttach, Name: []byte(of(p, "pool", "web"))}))
	}
	return p.apply("open "+c.name, nil, n.batchOf(ops...))
}

// opStep sends one batch of a node, or one of each.
func (p *program) opStep(n *node) error {
	var items []fsm.Item
	var texts []string
	add := func(n *node, many int) {
		var ops []*fsm.Op
		for range many {
			c := p.conn(n)
			if c == nil || len(c.pending)+len(c.refused) > 4 {
				continue
			}
			op := c.next(p.op(c))
			if len(c.refused) > 0 { // stays in order behind them
				c.drop(op.Seq)
				c.refused = append(c.refused, op)
				texts = append(texts, "("+c.name+" later: "+opText(op)+")")
				continue
			}
			ops = append(ops, op)
			texts = append(texts, c.name+": "+opText(op))
		}
		if len(ops) > 0 {
			items = append(items, n.batchOf(ops...))
		}
	}
	if p.conn(n) == nil { // the other node's, then
		for _, name := range p.names {
			if x := p.nodes[name]; x != nil && x != n {
				n = x
				break
			}
		}
	}
	// Each takes what it likes, so before long most would wait for ever: patience ends.
	if c := p.conn(n); c != nil && c.waits() && p.pick(3) == 0 {
		return p.endStep(c)
	}
	add(n, 1+p.pick(3))
	if other := p.nodes["n1"]; other != nil && other != n && p.pick(4) == 0 {
		add(other, 1)
	}
	var keepalives []fsm.Keepalive
	if p.pick(3) == 2 {
		keepalives = p.vouch()
	}
	return p.apply(strings.Join(texts, " ; "), keepalives, items...)
}

// apply gives one entry to the machines and to the model and compares.
func (p *program) apply(what string, keepalives []fsm.Keepalive, items ...fsm.Item) error {
	if err := p.applyOnce(what, keepalives, items...); err != nil {
		return err
	}
	return p.proposeAgain()
}

// proposeAgain does what a node does with refused ops: again, in order, when the
// wait is over.
func (p *program) proposeAgain() error {
	for moved := true; moved; {
		moved = false
		p.live = slices.DeleteFunc(p.live, func(c *conn) bool { // some of the closed ones go on talking
			return c.closed && (c.seq%2 == 0 || p.nodes[c.node.name] != c.node)
		})
		for _, c := range slices.Clone(p.live) {
			if ops := p.again(c); len(ops) > 0 {
				moved = true
				text := "proposed again: " + c.name + ":"
				for _, op := range ops {
					text += " " + opText(op) + ","
				}
				if err := p.applyOnce(text, nil, c.node.batchOf(ops...)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (p *program) applyOnce(what string, keepalives []fsm.Keepalive, items ...fsm.Item) error {
	p.trace = append(p.trace, fmt.Sprintf("%d t=%d term=%d keepalives=%s %s", p.index+1, p.time, p.term, show(keepalives), what))
	if len(keepalives) == 0 {
		p.trace[len(p.trace)-1] = fmt.Sprintf("%d t=%d term=%d %s", p.index+1, p.time, p.term, what)
	}
	p.model.entry(p.term, p.time, keepalives, items)
	eff, err := p.entry(keepalives, items...)
	if err != nil {
		return err
	}
	return p.compare(eff)
}
