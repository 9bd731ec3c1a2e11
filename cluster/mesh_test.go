package cluster

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redlockd/redlockd/cluster/peer"
	"github.com/redlockd/redlockd/cluster/peer/peertest"
	"github.com/redlockd/redlockd/fsm"
)

// endsLinks is a node that ends each link after a while.
type endsLinks struct {
	after  time.Duration
	opened atomic.Int32
}

func (e *endsLinks) Opened(l *peer.Link, from peer.Hello) {
	if from.Dialed != "" {
		return
	}
	e.opened.Add(1)
	time.AfterFunc(e.after, l.Close)
}
func (*endsLinks) Frame(*peer.Link, byte, []byte) {}
func (*endsLinks) Request(context.Context, *peer.Link, byte, []byte) ([]byte, error) {
	return nil, nil
}
func (*endsLinks) Closed(*peer.Link, error) {}

// A member that ends each link at once is tried ever more rarely; one whose link
// has lasted is tried again at once.
func TestMeshBacksOff(t *testing.T) {
	for after, most := range map[time.Duration]int32{0: 45, 3 * time.Second: 10} {
		synctest.Test(t, func(t *testing.T) {
			m := peertest.New()
			open := func(id string, h peer.Handler) *peer.Network {
				l, err := m.Listen(addrOf(id))
				if err != nil {
					t.Fatal(err)
				}
				n, err := peer.New(peer.Options{NodeID: id, Advertise: addrOf(id), Listener: l, Dial: m.Dialer(addrOf(id)), Logger: quiet()})
				if err != nil {
					t.Fatal(err)
				}
				if err := n.Serve(h); err != nil {
					t.Fatal(err)
				}
				return n
			}
			h := &endsLinks{after: after}
			a, b := open("a", &endsLinks{}), open("b", h)
			mesh := newMesh(a, quiet(), func(string) {})
			mesh.want(map[string]string{"b": addrOf("b")})
			time.Sleep(30 * time.Second)
			if n := h.opened.Load(); n > most || n < most/2 {
				t.Errorf("links that last %v: %d in 30 s, want up to %d", after, n, most)
			}
			mesh.close()
			for _, n := range []*peer.Network{a, b} {
				if err := n.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What the leader tells ahead of our own loop counts for no longer than the
// session-timeout that holds there, which our own loop may not know yet.
func TestFastAnswerShortensTheVouch(t *testing.T) {
	b := newBench(t)
	b.apply(1000, b.drawn())
	c := b.h.connect()
	ops, _ := c.ops(lock("k"))
	b.propose(ops)
	b.drawn() // sent; the leader has applied it behind a shorter session-timeout
	b.shorten(2 * time.Second)
	b.fast([]fsm.Reply{{Conn: c.id, Seq: c.seq, Int: 1}}, 10*time.Second)
	b.clock.freeze(1800 * time.Millisecond)
	if err := b.within(&b.vouch.fresh, ErrSilent); err != nil {
		t.Fatal(err)
	}
	b.clock.freeze(200 * time.Millisecond)
	if b.within(&b.vouch.fresh, ErrSilent) == nil {
		t.Error("it is vouched for by a session-timeout that is over")
	}
}
