package cluster

import (
	"fmt"
	"slices"

	"github.com/redlockd/redlockd/fsm"
)

// tellSessions is how many ended sessions of one entry are logged one by one.
const tellSessions = 10

// tell logs what has ended with an entry, and why. The leader does it for all.
func (a *applier) tell(e *fsm.Entry, eff *fsm.Effects) {
	for _, inc := range eff.Ended {
		node, why := a.endedNode(e, eff, inc)
		a.log.Info("a node's incarnation has ended, and its connections with it", "node", node, "incarnation", uint64(inc), "why", why)
	}
	anonymous := map[fsm.Why]int{}
	named := 0
	for i := range eff.Sessions {
		s := &eff.Sessions[i]
		switch {
		case s.Name == "":
			anonymous[s.Why]++
		case named < tellSessions:
			named++
			a.log.Info("a session has ended", "session", s.Name, "id", uint64(s.ID), "why", whyEnded(s.Why))
		default:
			named++
		}
	}
	if named > tellSessions {
		a.log.Info("more sessions have ended at the same moment", "sessions", named-tellSessions)
	}
	for why, n := range anonymous {
		if why != fsm.WhyReset { // a client's own wish, and one of many
			a.log.Info("anonymous sessions have ended", "sessions", n, "why", whyEnded(why))
		}
	}
}

// endedNode says whose incarnation ended, and why.
func (a *applier) endedNode(e *fsm.Entry, eff *fsm.Effects, inc fsm.Incarnation) (node, why string) {
	for i := range e.Items {
		it := &e.Items[i]
		switch it.Kind {
		case fsm.ItemRegister:
			if it.Register.Replaces == inc && slices.ContainsFunc(eff.Registered, func(r fsm.Registered) bool { return r.Nonce == it.Register.Nonce && r.Incarnation != 0 }) {
				return it.Register.Node, "the node has registered anew"
			}
		case fsm.ItemRemove:
			node = it.Remove
		case fsm.ItemBatch, fsm.ItemInvalid:
		}
	}
	for _, n := range a.machine.Nodes() {
		if n.Incarnation == inc && n.Name != node {
			return n.Name, "nothing was heard of the node for session-timeout"
		}
	}
	return node, "the node was removed"
}

func whyEnded(w fsm.Why) string {
	switch w {
	case fsm.WhySessionClosed:
		return "SESSION CLOSE"
	case fsm.WhySessionExpired:
		return "its TTL has passed"
	case fsm.WhySessionKilled:
		return "SESSION KILL"
	case fsm.WhyNodeLost:
		return "the node of its connections was lost"
	case fsm.WhyConnClosed:
		return "its connection was closed"
	case fsm.WhyReset:
		return "RESET or SESSION DETACH"
	default:
		return fmt.Sprintf("reason %d", w)
	}
}
