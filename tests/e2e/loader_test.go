package e2e

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/redlockd/redlockd/tests/harness"
)

// kind is how a client of the load holds its locks.
type kind int

const (
	kindNamed     kind = iota // a named session, OWNER o: survives
	kindAnonymous             // the connection's own session: ends with it
	kindKept                  // KEEP: belongs to no session: survives
)

const (
	privateKeys = 25 // of each client
	sharedKeys  = 12 // that named and anonymous clients fight for
	longLease   = 24 * 3600 * 1000
	loadOwner   = "o"
)

// loader is a client of the load. It outlives its connection: what it knows goes on to the next round.
type loader struct {
	id       int
	kind     kind
	world    *world
	random   *rand.Rand
	attached bool            // the session has been made for certain
	holds    map[string]hold // promised
	pending  []attempt       // sent and not answered when the connection broke, in order
}

func (l *loader) session() string { return fmt.Sprintf("load-%d", l.id) }

// run works until the connection breaks.
func (l *loader) run(addr string) {
	conn, err := harness.Dial(addr)
	if err == nil {
		err = l.attach(conn)
		for err == nil {
			err = l.burst(conn)
		}
		_ = conn.Close() // broken already
	}
	if !l.world.over.Load() {
		l.world.fault("client %d: the connection broke while the server was up: %v", l.id, err)
	}
}

func (l *loader) attach(conn *harness.Conn) error {
	if l.kind != kindNamed {
		return nil
	}
	v, err := conn.Do("SESSION", "ATTACH", l.session(), "TTL", strconv.Itoa(longLease))
	if err != nil {
		return err
	}
	if len(v.Items) != 2 || l.attached && v.Items[1].Text != "resumed" {
		return fmt.Errorf("SESSION ATTACH: %v", v)
	}
	l.attached = true
	return nil
}

// burst sends some commands on different keys in one piece and takes their replies. Commands on shared keys go alone:
// their effect cannot be read off afterwards when others come between.
func (l *loader) burst(conn *harness.Conn) error {
	n := 1
	if l.random.IntN(3) == 0 {
		n = 2 + l.random.IntN(8)
	}
	var batch []attempt
	if n == 1 && l.kind != kindKept && l.random.IntN(3) == 0 {
		batch = []attempt{l.choose(fmt.Sprintf("shared:%d", l.random.IntN(sharedKeys)), true)}
	} else {
		for _, i := range l.random.Perm(privateKeys)[:n] {
			batch = append(batch, l.choose(l.private(i), false))
		}
	}
	var out []byte
	above := l.world.top()
	for i := range batch {
		a := &batch[i]
		a.above = above
		if a.act == actUnlock && a.before.count == 1 {
			l.world.releasing(l, a.key)
		}
		out = harness.AppendCommand(out, a.args...)
	}
	l.pending = batch
	if err := conn.SendRaw(out); err != nil {
		return err
	}
	for len(l.pending) > 0 {
		v, err := conn.Receive()
		if err != nil {
			return err
		}
		a := l.pending[0]
		if v.Code() == "UNCERTAIN" && l.world.over.Load() {
			return fmt.Errorf("%v", v) // stays pending
		}
		l.pending = l.pending[1:]
		l.settle(a, v)
		l.world.answered.Add(1)
	}
	return nil
}

func (l *loader) private(i int) string { return fmt.Sprintf("private:%d:%d", l.id, i) }

// choose makes up a command on a key.
func (l *loader) choose(key string, shared bool) attempt {
	h := l.holds[key]
	a := attempt{key: key, before: h, lease: l.random.IntN(3) == 0 || l.kind == kindKept}
	dice := l.random.IntN(10)
	switch {
	case h.count == 0:
		a.act = actGrant
	case dice < 6 || h.count > 3:
		a.act = actUnlock
	case dice < 8 && l.kind != kindKept:
		a.act = actReenter
	case dice < 9:
		a.act = actRenew
	default:
		a.act = actCount
	}
	a.args = l.args(&a, shared)
	return a
}

func (l *loader) args(a *attempt, shared bool) []string {
	var args []string
	switch a.act {
	case actGrant, actReenter:
		args = []string{"LOCK", a.key}
		if shared {
			args = []string{"TRYLOCK", a.key, "TIMEOUT", strconv.Itoa(l.random.IntN(30))}
		}
		if a.lease {
			args = append(args, "LEASE", strconv.Itoa(longLease))
		}
		if l.kind == kindKept {
			return append(args, "KEEP")
		}
	case actUnlock:
		args = []string{"UNLOCK", a.key}
	case actRenew:
		args = []string{"RENEW", a.key, strconv.Itoa(longLease)}
	case actCount:
		return []string{"LOCKCOUNT", a.key}
	}
	if l.kind == kindKept {
		return append(args, "FENCE", strconv.FormatInt(a.before.fence, 10))
	}
	if l.kind == kindNamed {
		args = append(args, "OWNER", loadOwner)
	}
	return args
}

// settle takes an answer for what it promises.
func (l *loader) settle(a attempt, v harness.Value) {
	h := a.before
	if v.Code() == "CLUSTERDOWN" && l.world.over.Load() {
		return // nothing was done
	}
	wrong := v.Kind != harness.Int
	switch a.act {
	case actGrant:
		if !wrong && v.Int == 0 && a.args[0] == "TRYLOCK" {
			return
		}
		h = hold{v.Int, 1, a.lease}
		if !wrong {
			l.world.granted(l, a.key, v.Int, a.above)
		}
	case actReenter:
		wrong = wrong || v.Int != h.fence
		h.count, h.lease = h.count+1, h.lease && a.lease // the later of the two ends
	case actUnlock:
		h.count--
		wrong = wrong || v.Int != h.count
	case actRenew:
		wrong = wrong || v.Int != h.fence
		h.lease = true
	case actCount:
		wrong = wrong || v.Int != h.count
	}
	if wrong {
		l.world.fault("client %d holds %+v: %v answered %v", l.id, a.before, a.args, v)
	}
	l.holds[a.key] = h
	if h.count == 0 {
		delete(l.holds, a.key)
	}
}
