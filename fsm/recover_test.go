package fsm_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

// doRecover recovers all machines and goes on with them: they agree, and what
// they say their records are loads.
func (s *story) doRecover([]string, map[string]string) error {
	r, err := s.recover()
	if err != nil {
		return err
	}
	fmt.Fprintf(&s.out, "ended %d connections, %d sessions; released %d holds; left %d named sessions, %d holds; fences above %d\n",
		r.Connections, r.Sessions, r.Released, r.Named, r.Kept, r.Fence)
	return nil
}

// recover recovers the three machines and takes their records as written.
func (p *pair) recover() (fsm.Recovered, error) {
	var first fsm.Recovered
	for i, m := range []*fsm.Machine{p.m, p.twin, p.lazy} {
		r, err := m.Recover(0)
		if err != nil {
			return r, err
		}
		if i == 0 {
			first = r
		}
		if r != first || m.Hash() != p.m.Hash() {
			return r, fmt.Errorf("machine %d recovers to %+v hash %x, the first one to %+v hash %x", i, r, m.Hash(), first, p.m.Hash())
		}
		if err := m.CheckInvariants(); err != nil {
			return r, fmt.Errorf("recovered: %w", err)
		}
	}
	clear(p.records)
	clear(p.late)
	p.m.Records(func(r fsm.Record) bool {
		p.records[string(r.Key)], p.late[string(r.Key)] = bytes.Clone(r.Value), bytes.Clone(r.Value)
		return true
	})
	return first, p.reloadTwin()
}

// lockRecord is what a test reads of a lock's record: its fence, and whether an
// anonymous session holds it.
func lockRecord(value []byte) (fence uint64, anonymous bool) {
	fence, n := binary.Uvarint(value[1:])
	return fence, value[1+n+1] == 2
}

// TestRecoverAnything: whatever the state, no connection and no anonymous
// session is left, no hold of anybody else is lost, and what is granted by it or
// after it has fences above all before.
func TestRecoverAnything(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	kept, granted := 0, 0
	for seed := range seeds {
		rng := rand.New(rand.NewPCG(uint64(seed), 11))
		data := make([]byte, (50+seed*5)*stepSize)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		p := newProgram(7)
		if err := p.run(data); err != nil {
			t.Fatal(err)
		}
		before, last := map[string][]byte{}, p.m.Stats().LastFence
		for k, v := range p.records {
			if k[0] == 'L' {
				before[k] = v
			}
		}
		r, err := p.recover()
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if r.Fence < last+fsm.RecoverFences {
			t.Fatalf("seed %d: the last fence was %d, and is %d now", seed, last, r.Fence)
		}
		for k, v := range p.records {
			switch old, held := before[k]; {
			case k[0] == 'C' || k[0] == 'S' && k[1] == 'a':
				t.Fatalf("seed %d: record %q is left", seed, k)
			case k[0] != 'L':
			case held && bytes.Equal(old, v):
				kept++
			default:
				fence, anonymous := lockRecord(v)
				if granted++; fence <= last+fsm.RecoverFences || anonymous {
					if was, _ := lockRecord(old); !held || fence != was {
						t.Fatalf("seed %d: lock %q has fence %d after %d", seed, k, fence, last)
					}
				}
			}
		}
		for k, v := range before {
			if _, anonymous := lockRecord(v); !anonymous && p.records[k] == nil {
				t.Fatalf("seed %d: hold %q was lost", seed, k)
			}
		}
		// It goes on: a node registers, and its client is granted a lock.
		n := p.nodes["n1"]
		_, fresh, err := p.register("n1", p.m.NewestIncarnation("n1"), n.nonce+1)
		if err != nil || fresh.inc <= n.inc+fsm.RecoverIncarnations-1 {
			t.Fatalf("seed %d: the next incarnation is %d after %d: %v", seed, fresh.inc, n.inc, err)
		}
		c, open := p.open(fresh, "after", "", "")
		eff, err := p.entry(nil, fresh.batchOf(open, c.next(fsm.Op{Code: fsm.OpTryLock, Key: []byte("of nobody")})))
		if err != nil || len(eff.Replies) == 0 || uint64(eff.Replies[len(eff.Replies)-1].Int) <= last+fsm.RecoverFences {
			t.Fatalf("seed %d: after it a lock is granted so: %v, %v", seed, eff, err)
		}
	}
	if kept == 0 || granted == 0 {
		t.Errorf("%d holds were kept and %d handed on: the programs test too little", kept, granted)
	}
}

// TestRecoverHasNoRoom: a fence counter at its end is left alone.
func TestRecoverHasNoRoom(t *testing.T) {
	s := newStory()
	for _, line := range []string{"open c", "c: LOCK k LEASE 60000 KEEP"} {
		if err := s.line(line); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for err := error(nil); err == nil; n++ {
		if n > 10_000 {
			t.Fatal("fences have no end")
		}
		hash := s.m.Hash()
		if _, err = s.m.Recover(0); err != nil && s.m.Hash() != hash {
			t.Errorf("refused, and yet changed: %v", err)
		}
	}
	if last := s.m.Stats().LastFence; n < 8000 || last >= 1<<53 {
		t.Errorf("%d times, the last fence is %d", n, last)
	}
	if err := s.m.CheckInvariants(); err != nil {
		t.Error(err)
	}
}
