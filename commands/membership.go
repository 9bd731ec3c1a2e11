package commands

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redlockd/redlockd/resp"
)

// This file has CLUSTER MEET, FORGET and FAILOVER, which wait for other nodes, and
// how a command is answered later.

// adminTimeout is how long they may take: a node that joins first catches up.
const adminTimeout = time.Minute

// later answers the command when work has ended, OK or its error. What the
// client sent behind it waits until then, and work is told to end when the
// client is gone.
func (c *client) later(work func(context.Context) error) {
	c.laterWith(func(ctx context.Context) (func(*resp.Writer), error) { return (*resp.Writer).OK, work(ctx) })
}

// laterWith is later for a command that answers more than OK.
func (c *client) laterWith(work func(context.Context) (func(*resp.Writer), error)) {
	spec := c.last.Load()
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	c.mu.Lock()
	c.cancel = cancel
	c.mu.Unlock()
	c.rc.Hold()
	c.barrier = true
	go func() {
		defer cancel()
		reply, err := work(ctx)
		w := c.rc.Begin()
		if err == nil {
			reply(w)
		} else {
			spec.counts.failed.Add(1)
			code, sentence, _ := strings.Cut(string(adminProblem(err)), " ")
			w.Error(code, sentence)
			if code == "UNCERTAIN" {
				c.rc.CloseAfterFlush() // as after any UNCERTAIN
			}
		}
		c.rc.End(1)
		c.rc.Flush()
	}()
}

// adminProblem puts a code in front of an error that has none.
func adminProblem(err error) problem {
	if errors.Is(err, context.DeadlineExceeded) {
		return "UNCERTAIN the cluster did not answer in time: CLUSTER NODES tells whether it was done"
	}
	code, _, _ := strings.Cut(err.Error(), " ")
	if code != "" && strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" && len(code) > 1 {
		return problem(err.Error())
	}
	return problem("ERR " + err.Error())
}

// peerPortOffset is how far a node's port for peers is above that for clients
// where nothing else was said, as in Redis Cluster.
const peerPortOffset = 10000

// parseMeet reads host:port of the peers' side, or Redis's form: ip port [bus-port].
func parseMeet(args [][]byte) (address string, p problem) {
	if len(args) > 5 {
		return "", syntaxError
	}
	if len(args) == 3 {
		host, port, ok := splitAddr(string(args[2]))
		if !ok || host == "" || port > 65535 {
			return "", problem("ERR Invalid node address specified: " + string(shorten(args[2])) + ": give host:port, as in the node's --peer-listen")
		}
		return string(args[2]), noProblem
	}
	port, ok := parseInt(args[3])
	if !ok {
		return "", problem("ERR Invalid TCP base port specified: " + string(shorten(args[3])))
	}
	peer := port + peerPortOffset
	if len(args) == 5 {
		if peer, ok = parseInt(args[4]); !ok {
			return "", problem("ERR Invalid TCP bus port specified: " + string(shorten(args[4])))
		}
	}
	host := string(args[2])
	if host == "" || strings.ContainsAny(host, " \t") || len(host) > 255 || port < 1 || port > 65535 || peer < 1 || peer > 65535 {
		return "", problem("ERR Invalid node address specified: " + string(shorten(args[2])) + ":" + string(shorten(args[3])))
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), strconv.FormatInt(peer, 10)), noProblem
}

func runClusterMeet(c *client, args [][]byte) {
	address, p := parseMeet(args)
	if p != noProblem {
		c.failed(p)
		return
	}
	c.h.o.Logger.Info("a node is asked to join", "address", address, "by", c.rc.RemoteAddr())
	c.later(func(ctx context.Context) error { return c.h.o.Cluster.Meet(ctx, address) })
}

func unknownNode(name []byte) problem { return problem("ERR Unknown node " + string(shorten(name))) }

func runClusterForget(c *client, args [][]byte) {
	m, ok := c.h.findMember(string(args[2]))
	if !ok {
		c.failed(unknownNode(args[2]))
		return
	}
	c.h.o.Logger.Info("a node is to be removed", "node", m.ID, "by", c.rc.RemoteAddr())
	c.later(func(ctx context.Context) error { return c.h.o.Cluster.Forget(ctx, m.ID) })
}

// runClusterFailover hands the leadership to the node that is named; without a
// name to this node, or from it, if it leads, to the best of the others.
func runClusterFailover(c *client, args [][]byte) {
	var m Member
	leader, led := c.h.o.Cluster.Leader()
	switch {
	case len(args) > 3:
		c.failed(syntaxError)
		return
	case len(args) == 3:
		var ok bool
		if m, ok = c.h.findMember(string(args[2])); ok {
			break
		}
		if isWord(args[2], "FORCE") || isWord(args[2], "TAKEOVER") {
			c.failed("ERR there is no forced failover: when the leader is gone, the others elect one by themselves, if they are a majority")
			return
		}
		c.failed(unknownNode(args[2]))
		return
	case !led || leader.ID != c.h.o.Cluster.MyID():
		m, _ = c.h.findMember(c.h.o.Cluster.MyID())
	}
	switch {
	case m.ID != "" && led && m.ID == leader.ID:
		c.failed(problem("ERR node " + m.ID + " leads already"))
		return
	case m.ID != "" && !m.Voter():
		c.failed(problem("ERR node " + m.ID + " does not vote, so it cannot lead"))
		return
	}
	c.h.o.Logger.Info("the leadership is to be handed over", "to", m.ID, "by", c.rc.RemoteAddr())
	c.later(func(ctx context.Context) error { return c.h.o.Cluster.Failover(ctx, m.ID) })
}
