package commands

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/sessions"
)

// This file has the commands about the connection itself.

// namedSession is how a client's name asks for a session.
const namedSession = "session:"

func clusterDown(err error) problem { return problem("CLUSTERDOWN " + err.Error()) }

// runPing vouches for the connection's holds: an answered PING means that they
// are safe for half a session-timeout from when it was sent.
func runPing(c *client, args [][]byte) {
	if len(args) > 2 {
		c.failed(wrongArity(c.last.Load()))
		return
	}
	if err := c.sc.Alive(); err != nil {
		if errors.Is(err, sessions.ErrStale) {
			c.rc.Kill() // the holds may be another's by now: a client must not take any answer for theirs
			return
		}
		c.failed(clusterDown(err))
		return
	}
	if c.subscribed > 0 && c.rc.Proto() == 2 {
		w := c.rc.Begin()
		w.Array(2)
		w.BulkString("pong")
		w.Bulk(slices.Concat(args[1:]...))
		c.rc.End(0)
		return
	}
	if len(args) == 2 {
		c.bulk(args[1])
		return
	}
	w := c.rc.Begin()
	w.Simple("PONG")
	c.rc.End(0)
}

func runEcho(c *client, args [][]byte) { c.bulk(args[1]) }

func runQuit(c *client, _ [][]byte) {
	c.ok()
	c.rc.CloseAfterFlush()
}

func runSelect(c *client, args [][]byte) {
	n, ok := parseInt(args[1])
	switch {
	case !ok:
		c.failed(notAnInteger)
	case n != 0:
		c.failed("ERR DB index is out of range")
	default:
		c.ok()
	}
}

// runReset makes the connection like a new one. What the machine knows of it
// is reset there (its client name too); nothing that came behind runs before
// that is done.
func runReset(c *client, _ [][]byte) {
	c.rc.SetProto(2)
	c.deauthenticate()
	c.readOnly, c.asking = false, false
	c.h.hub.forget(c)
	c.setBackup(nil)
	if c.sc.Known() {
		c.op = fsm.Op{Code: fsm.OpReset}
		c.barrier = true
		c.do(c.last.Load())
		return
	}
	_ = c.sc.SetName("") // refuses bad session names only
	w := c.rc.Begin()
	phraseReset(w, nil, nil)
	c.rc.End(0)
}

// runMulti refuses and closes, so that the commands behind it, which the
// client believes to be queued, do not run alone.
func runMulti(c *client, _ [][]byte) {
	c.failed("ERR MULTI is not supported: each command acts alone. The connection closes, so that nothing sent behind MULTI runs")
	c.rc.CloseAfterFlush()
}

// checkClientName refuses names that would break a line of CLIENT LIST, and
// those that ask for a session that cannot be.
func checkClientName(name []byte) problem {
	if !printable(name) {
		return badClientName
	}
	if len(name) > maxClientName { // it is in the record of each lock that the connection takes in a named session
		return problem(fmt.Sprintf("ERR client name must be at most %d bytes: got %d", maxClientName, len(name)))
	}
	if session, ok := strings.CutPrefix(string(name), namedSession); ok {
		return parseSessionName([]byte(session))
	}
	return noProblem
}

// setName gives the connection its name, checked before.
func (c *client) setName(name []byte) problem {
	if err := c.sc.SetName(string(name)); err != nil {
		return problem("ERR " + err.Error())
	}
	return noProblem
}

func runClientID(c *client, _ [][]byte) {
	id, err := c.sc.ID()
	if err != nil {
		c.failed(clusterDown(err))
		return
	}
	c.integer(int64(id))
}

func runClientGetName(c *client, _ [][]byte) {
	w := c.rc.Begin()
	if name := c.sc.Name(); name != "" {
		w.BulkString(name)
	} else {
		w.Null()
	}
	c.rc.End(0)
}

func runClientSetName(c *client, args [][]byte) {
	p := checkClientName(args[2])
	if p == noProblem {
		p = c.setName(args[2])
	}
	if p != noProblem {
		c.failed(p)
		return
	}
	c.ok()
}

func runClientSetInfo(c *client, args [][]byte) {
	name, value := args[2], args[3]
	var field *string
	switch {
	case isWord(name, "LIB-NAME"):
		field = &c.libName
	case isWord(name, "LIB-VER"):
		field = &c.libVer
	default:
		c.failed(problem("ERR Unrecognized option '" + string(shorten(name)) + "'"))
		return
	}
	if !printable(value) || len(value) > maxNote {
		c.failed(problem("ERR " + string(name) + " cannot contain spaces, newlines or special characters."))
		return
	}
	c.mu.Lock()
	*field = string(value)
	c.mu.Unlock()
	c.ok()
}

// runClientOnOff answers settings that mean nothing here and that pools send.
func runClientOnOff(c *client, args [][]byte) {
	if !isWord(args[2], "ON") && !isWord(args[2], "OFF") {
		c.failed(syntaxError)
		return
	}
	c.ok()
}
