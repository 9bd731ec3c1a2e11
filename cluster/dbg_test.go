package cluster
import ("testing";"testing/synctest";"fmt";"time";"github.com/redlockd/redlockd/fsm")
func TestDbg(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		o := c.others(c.leader())
		a, b := o[0].h.connect(), o[1].h.connect()
		a.do(t, lock("k"))
		get := func(what string, ch chan fsm.Reply) {
			select { case r := <-ch: if r.Code != 0 { panic(fmt.Sprint(what, r)) }
			case <-time.After(8*time.Second):
				for _, n := range c.nodes {
					n.agent.mu.Lock()
					fmt.Println(what, n.opts.NodeID, "phase", n.agent.phase, "queue", len(n.agent.queue.ops), "sent", len(n.agent.sent), "on", n.port.fwd.on.Load(), "way", n.port.way() != nil, "leads", n.proposer.leads.Load(), n.raft.State(), "retry", n.agent.retryAt)
					n.agent.mu.Unlock()
					s := n.Status()
					fmt.Printf("   %+v\n", s)
					fmt.Println("   ", n.h.events(), len(n.h.down))
				}
				panic("stuck")
			}
		}
		for range 20 {
			w := b.send(lock("k"))
			time.Sleep(100 * time.Millisecond)
			get("unlock", a.send(unlock("k")))
			get("lock", w)
			a, b = b, a
		}
	})
}
