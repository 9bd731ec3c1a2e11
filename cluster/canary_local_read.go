//go:build canary_local_read

package cluster

import "github.com/redlockd/redlockd/fsm"

func init() {
	localRead = func(n *Node, ops []*fsm.Op) {
		if len(ops) != 1 || n.raft.State().String() != "Leader" {
			return
		}
		var r fsm.Reply
		var ok bool
		n.applier.view(func() { r, ok = n.fsm.Peek(ops[0]) })
		if ok {
			go n.agent.fast([]fsm.Reply{r}, longSleep)
		}
	}
}
