package cluster

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// TestManyContacts: a keepalive that speaks for more sessions than a node has clients by
// default reaches the leader of another node.
func TestManyContacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		n := c.others(c.leader())[0]
		wants(t, "LOCK", n.h.connect().do(t, lock("k")), 1)
		contacts := make([]fsm.SessionID, 300_000)
		for i := range contacts {
			contacts[i] = fsm.Incarnation(1 << 12).Conn(uint32(i)).Session()
		}
		n.h.mu.Lock()
		n.h.contacts = contacts
		n.h.mu.Unlock()
		time.Sleep(20 * time.Second)
		for _, e := range n.h.events() {
			if len(e) > 3 && e[:3] == "end" {
				t.Error(e)
			}
		}
	})
}
