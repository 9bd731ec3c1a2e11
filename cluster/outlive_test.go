package cluster

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// TestNobodyOutlivesTheMachine: whatever is lost, late, skipped or changed, a node
// that takes itself for vouched for is alive in the machine, and one that answers
// PING has half a session-timeout left there.
func TestNobodyOutlivesTheMachine(t *testing.T) {
	seeds, steps := 60, 500
	if testing.Short() {
		seeds = 20
	}
	running := 0
	for seed := range seeds {
		v := &outliving{ensemble: newEnsemble(t), r: rand.New(rand.NewPCG(uint64(seed), 4)), truth: fsm.New(), counts: map[string]int{}}
		v.catchUp()
		for range steps {
			what := v.act()
			v.counts[what]++
			running += v.look(seed, what)
			if t.Failed() {
				return
			}
		}
	}
	if running < seeds*steps/3 {
		t.Errorf("there was something to lose %d times only", running)
	}
}

// outliving is one run. truth has applied the whole log; it speaks for the leader.
type outliving struct {
	*ensemble
	r      *rand.Rand
	truth  *fsm.Machine
	known  int // entries that truth has applied
	late   []*round
	conns  []*playerConn
	counts map[string]int
}

type playerConn struct {
	*testConn
	p   *player
	inc fsm.Incarnation
}

func (v *outliving) node() *player { return v.players[v.r.IntN(len(v.players))] }

// catchUp lets the leader apply what is committed; its fast answers may get lost.
func (v *outliving) catchUp() {
	for v.known < len(v.log) {
		var entry fsm.Entry
		l := &v.log[v.known]
		if err := fsm.DecodeEntry(bytes.Clone(l.Data), &entry); err != nil {
			v.t.Fatal(err)
		}
		v.known++
		entry.Index, entry.Term = uint64(v.known), l.Term
		eff := v.truth.Apply(&entry)
		for _, p := range v.players {
			theirs := slices.DeleteFunc(slices.Clone(eff.Replies), func(r fsm.Reply) bool { return r.Conn.Incarnation() != p.inc })
			if len(theirs) > 0 && !slices.Contains(eff.Ended, p.inc) && v.r.IntN(2) == 0 {
				p.shorten(time.Duration(eff.Timeout) * time.Millisecond)
				left := (&applier{machine: v.truth}).left(p.node)
				p.fast(theirs, time.Duration(left)*time.Millisecond)
			}
		}
	}
}

// act does one thing.
func (v *outliving) act() string {
	p := v.node()
	switch v.r.IntN(16) {
	case 0, 1:
		return v.ask(p)
	case 2:
		return v.setTimeout(p)
	case 3:
		if len(v.conns) > 0 {
			i := v.r.IntN(len(v.conns))
			x := v.conns[i]
			x.p.end(x.testConn)
			v.conns = slices.Delete(v.conns, i, i+1)
		}
		return "end"
	case 4, 5, 6:
		return v.write()
	case 7, 8, 9, 10:
		if p.heard < len(v.log) {
			p.step()
		}
		return "hear"
	case 11:
		from := v.node()
		if from.heard > p.heard && v.r.IntN(3) == 0 {
			p.install(from)
			return "install"
		}
		p.hear()
		return "hear all"
	case 12:
		if v.r.IntN(4) == 0 {
			v.newTerm()
		}
		return "term"
	default:
		v.wait()
		return "wait"
	}
}

// ask opens a connection, or uses one.
func (v *outliving) ask(p *player) string {
	v.conns = slices.DeleteFunc(v.conns, func(x *playerConn) bool { return x.p.inc != x.inc || x.p.phase != phaseServing })
	if p.phase != phaseServing {
		return "nobody serves"
	}
	i := slices.IndexFunc(v.conns, func(x *playerConn) bool { return x.p == p })
	if i < 0 || v.r.IntN(4) == 0 {
		v.conns = append(v.conns, &playerConn{p.h.connect(), p, p.inc})
		i = len(v.conns) - 1
	}
	p.send(v.conns[i].testConn, fsm.Op{Code: fsm.OpTryLock, Key: []byte(strconv.Itoa(v.r.IntN(5)))})
	return "ask"
}

func (v *outliving) setTimeout(p *player) string {
	if p.phase != phaseServing {
		return "nobody serves"
	}
	x := &playerConn{p.h.connect(), p, p.inc}
	for range 1 + v.r.IntN(2) {
		p.send(x.testConn, setTimeout(pick(v.r, "1000", "2000", "5000", "10000")))
	}
	v.conns = append(v.conns, x)
	return "set"
}

// write makes an entry of what some nodes want to be sent, and of what lay about.
// Some of it is lost instead.
func (v *outliving) write() string {
	var rs []*round
	for range 1 + v.r.IntN(4) {
		p := v.node()
		p.turn()
		if r := p.drawn(); !r.empty() {
			switch v.r.IntN(6) {
			case 0:
				p.failed(&ProposeError{Outcome: NotProposed, Err: errNotLeader})
			case 1:
				v.late = append(v.late, r)
			default:
				rs = append(rs, r)
			}
		}
	}
	if v.r.IntN(3) == 0 {
		rs, v.late = append(rs, v.late...), nil
	}
	v.commit(rs...)
	v.catchUp()
	return "write"
}

// wait lets time go by: everybody's, and that of the cluster, which may be slower.
func (v *outliving) wait() {
	d := time.Duration(v.r.IntN(700)) * time.Millisecond
	v.clock.freeze(d)
	if v.r.IntN(3) > 0 {
		v.ms += d.Milliseconds()
	}
	if v.r.IntN(2) == 0 {
		v.commit()
		v.catchUp()
	}
	v.node().turn()
}

// look compares the nodes with the machine. It returns how many have something to lose.
func (v *outliving) look(seed int, what string) (running int) {
	for _, p := range v.players {
		if p.phase != phaseServing || !p.vouch.running || p.within(&p.vouch.fresh, ErrSilent) != nil {
			continue
		}
		running++
		x, _ := v.truth.Node(p.node)
		left := time.Duration(x.Left-(v.ms-v.truth.Now())) * time.Millisecond
		told := x.Alive && x.Incarnation == p.inc
		if x.Alive && x.Incarnation == p.inc && x.Connections == 0 {
			continue // nobody was told anything yet, or all have gone
		}
		if !told || left <= 0 {
			v.t.Errorf("seed %d, after %s: node %s serves incarnation %d; the machine has %+v with %v left", seed, what, p.node, p.inc, x, left)
		}
		if p.within(&p.vouch.half, ErrHalf) == nil && left < p.vouch.timeout/2 {
			v.t.Errorf("seed %d, after %s: node %s answers PING; the machine gives it %v more (session-timeout %v, %v ago)", seed, what, p.node, left, p.vouch.timeout, v.clock.Boot()-p.vouch.from)
		}
	}
	return running
}
