package commands

import "strconv"

// This file is --follower-mode redirect: a follower sends clients to the leader
// where it would else forward their lock commands.

// elsewhere says where a lock command belongs, noProblem: here. A connection
// that the cluster knows already stays: what it holds and waits for hangs on it,
// and the UNLOCK of another connection would be refused. So does every command
// while no leader is known: it waits for one, as it does where nodes forward.
func (c *client) elsewhere(spec *Spec, args [][]byte) problem {
	if !c.h.o.Redirect || spec.Key == KeyNone || c.sc.Known() {
		return noProblem
	}
	asked := c.asking
	c.asking = false
	if asked || c.readOnly && spec.Flags&ReadOnly != 0 {
		return noProblem
	}
	leader, known := c.h.o.Cluster.Leader()
	if !known || leader.Addr == "" || leader.ID == c.h.o.Cluster.MyID() {
		return noProblem
	}
	if c.h.clustered() {
		return problem("MOVED " + strconv.Itoa(KeySlot(args[1])) + " " + leader.Addr)
	}
	if spec.Flags&ReadOnly != 0 {
		return noProblem
	}
	// What clients that ask Sentinel wait for; the rest of the line is for people.
	return problem("READONLY this node follows: the leader is " + leader.ID + " at " + leader.Addr)
}

const clusterDisabled problem = "ERR This instance has cluster support disabled"

// clusterOnly runs f where clients see a Redis Cluster, and answers as Redis does elsewhere.
func clusterOnly(f func(c *client, args [][]byte)) func(c *client, args [][]byte) {
	return func(c *client, args [][]byte) {
		if !c.h.clustered() {
			c.failed(clusterDisabled)
			return
		}
		f(c, args)
	}
}

func runReadOnly(c *client, _ [][]byte) {
	c.readOnly = true
	c.ok()
}

func runReadWrite(c *client, _ [][]byte) {
	c.readOnly = false
	c.ok()
}

// runAsking lets the next command be served here, leader or not.
func runAsking(c *client, _ [][]byte) {
	c.asking = true
	c.ok()
}
