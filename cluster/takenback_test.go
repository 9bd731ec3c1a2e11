package cluster

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
)

// TestConfigurationTakenBack: the newest configuration of a node's log was never
// committed, and is taken back once the node has started with it: the change was
// lost with the leader that began it. The node serves as if it had never been.
func TestConfigurationTakenBack(t *testing.T) {
	for _, v := range []struct {
		name   string
		itself bool // that is whom the lost change removed; else the leader of now
	}{{"without the leader", false}, {"without itself", true}} {
		t.Run(v.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTrio(t, nil)
				l := c.leader()
				node, heir := c.others(l)[0], c.others(l)[1]
				wants(t, "LOCK", node.h.connect().do(t, lock("k")), 1)
				c.same()
				name, gone := node.opts.NodeID, heir.opts.NodeID
				if v.itself {
					gone = name
				}
				delete(c.nodes, name)
				node.stop(t)
				term := l.raft.CurrentTerm()
				if err := l.Failover(context.Background(), heir.opts.NodeID); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the next leader writes", func() bool { return heir.applier.term.Load() > term })
				c.removeUncommitted(name, gone, term, heir.store.Log())
				node = c.launch(name, nil)
				eventually(t, "the node serves", func() bool { return node.Status().Incarnation != 0 })
				r := node.h.connect().do(t, lock("other"))
				if r.Code != fsm.CodeOK {
					t.Errorf("LOCK: %+v", r)
				}
				if n := node.Status().Voters; n != 3 {
					t.Errorf("%d nodes vote", n)
				}
				time.Sleep(5 * time.Second)
				select {
				case err := <-node.fatal:
					t.Error(err)
				default:
				}
			})
		})
	}
}

// removeUncommitted writes behind the log of a node that does not run the last entry
// of a leader that began to remove a member, and got no further. The term is over:
// what others have of it is in log, and nobody adds to that.
func (c *trio) removeUncommitted(name, gone string, term uint64, log raft.LogStore) {
	c.t.Helper()
	s := openStore(c.t, c.fs[name])
	last, err := s.Log().LastIndex()
	if err != nil {
		c.t.Fatal(err)
	}
	for {
		var next raft.Log
		if err := log.GetLog(last+1, &next); err != nil {
			c.t.Fatal(err)
		}
		if next.Term > term {
			break
		}
		if err := s.Log().StoreLog(&next); err != nil {
			c.t.Fatal(err)
		}
		last++
	}
	var conf raft.Configuration
	for id, addr := range c.initial() {
		if id != gone {
			conf.Servers = append(conf.Servers, raft.Server{ID: raft.ServerID(id), Address: raft.ServerAddress(addr)})
		}
	}
	lost := &raft.Log{Index: last + 1, Term: term, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(conf)}
	if err := s.Log().StoreLog(lost); err != nil {
		c.t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		c.t.Fatal(err)
	}
}

// The members that a start has read are old where Raft has told of newer ones meanwhile.
func TestStartTakesNoMembersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		n := c.leader()
		n.port.reach([]raft.Server{{ID: raft.ServerID(n.opts.NodeID)}}, true)
		for _, o := range c.others(n) {
			if state, _ := n.port.mesh.up(o.opts.NodeID); state == linkUnknown {
				t.Errorf("%s is no member any more", o.opts.NodeID)
			}
		}
	})
}
