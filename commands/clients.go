package commands

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/redlockd/redlockd/fsm"
)

// This file has CLIENT LIST, INFO and KILL. They see the connections of this
// node; KILL ID reaches the others through the machine.

// line describes a connection as a line of CLIENT LIST: Redis's fields as far
// as they mean something here, then ours. Clients skip those they do not know.
func (c *client) line() string {
	id, _ := c.sc.ID()
	info, n := c.sc.Info(), c.rc.Counters()
	c.mu.Lock()
	libName, libVer := c.libName, c.libVer
	c.mu.Unlock()
	channels, patterns := c.h.hub.counts(c)
	flags, cmd := "N", "NULL"
	if info.Waiting {
		flags = "b"
	}
	if s := c.last.Load(); s != nil {
		cmd = s.full
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s fd=-1 name=%s age=%d idle=%d flags=%s db=0 sub=%d psub=%d ssub=0 multi=-1 watch=0"+
		" obl=%d tot-net-in=%d tot-net-out=%d tot-cmds=%d events=r cmd=%s user=%s redir=-1 resp=%d lib-name=%s lib-ver=%s"+
		" session=%d session-name=%s outstanding=%d\n",
		id, c.rc.RemoteAddr(), c.rc.LocalAddr(), c.sc.Name(), n.AgeMs/1000, n.IdleMs/1000, flags, channels, patterns,
		n.Pending, n.BytesIn, n.BytesOut, n.Commands, cmd, defaultUser, c.rc.Proto(), libName, libVer,
		info.Session, info.SessionName, info.Outstanding)
}

func runClientInfo(c *client, _ [][]byte) { c.prose(c.line()) }

// isClientType reports whether the word names a type of Redis's clients, and
// whether the clients here are of that type: they are all normal ones.
func isClientType(word []byte) (known, ours bool) {
	switch strings.ToLower(string(word)) {
	case "normal":
		return true, true
	case "master", "replica", "slave", "pubsub":
		return true, false
	}
	return false, false
}

func unknownType(word []byte) problem {
	return problem("ERR Unknown client type '" + string(shorten(word)) + "'")
}

func runClientList(c *client, args [][]byte) {
	wanted := func(*client) bool { return true }
	switch {
	case len(args) == 2:
	case len(args) == 4 && isWord(args[2], "TYPE"):
		known, ours := isClientType(args[3])
		if !known {
			c.failed(unknownType(args[3]))
			return
		}
		wanted = func(*client) bool { return ours }
	case len(args) > 3 && isWord(args[2], "ID"):
		ids := map[fsm.ConnID]bool{}
		for _, a := range args[3:] {
			id, ok := parseInt(a)
			if !ok {
				c.failed("ERR Invalid client ID")
				return
			}
			ids[fsm.ConnID(id)] = true
		}
		wanted = func(o *client) bool { return ids[o.id()] }
	default:
		c.failed(syntaxError)
		return
	}
	var b strings.Builder
	for _, o := range c.h.sorted(wanted) {
		b.WriteString(o.line())
	}
	c.prose(b.String())
}

// id is the connection's number, 0 while the node has no incarnation.
func (c *client) id() fsm.ConnID {
	id, _ := c.sc.ID()
	return id
}

// sorted lists connections by their numbers.
func (h *Handler) sorted(wanted func(*client) bool) []*client {
	type numbered struct {
		id fsm.ConnID
		c  *client
	}
	var found []numbered
	h.each(func(o *client) bool {
		if wanted(o) {
			found = append(found, numbered{o.id(), o})
		}
		return true
	})
	slices.SortFunc(found, func(a, b numbered) int { return cmp.Compare(a.id, b.id) })
	clients := make([]*client, len(found))
	for i, f := range found {
		clients[i] = f.c
	}
	return clients
}

// killFilter is what a CLIENT KILL of the new form asks for; zero fields match all.
type killFilter struct {
	id          fsm.ConnID
	addr, laddr []byte
	maxAge      int64 // seconds
	otherType   bool  // a type that no client here has
	skipMe      bool
}

func parseKill(args [][]byte) (f killFilter, p problem) {
	f.skipMe = true
	if len(args)%2 != 0 {
		return f, syntaxError
	}
	for i := 0; i < len(args); i += 2 {
		if p := f.set(args[i], args[i+1]); p != noProblem {
			return f, p
		}
	}
	return f, noProblem
}

func (f *killFilter) set(name, value []byte) problem {
	switch {
	case isWord(name, "ID"):
		id, ok := parseInt(value)
		if !ok || id < 1 {
			return "ERR client-id should be greater than 0"
		}
		f.id = fsm.ConnID(id)
	case isWord(name, "ADDR"):
		f.addr = value
	case isWord(name, "LADDR"):
		f.laddr = value
	case isWord(name, "MAXAGE"):
		age, ok := parseInt(value)
		if !ok {
			return "ERR maxage is not an integer or out of range"
		}
		if age < 1 {
			return "ERR maxage should be greater than 0"
		}
		f.maxAge = age
	case isWord(name, "TYPE"):
		known, ours := isClientType(value)
		if !known {
			return unknownType(value)
		}
		f.otherType = !ours
	case isWord(name, "USER"):
		if string(value) != defaultUser {
			return problem("ERR No such user '" + string(shorten(value)) + "'")
		}
	case isWord(name, "SKIPME") && isWord(value, "YES"):
		f.skipMe = true
	case isWord(name, "SKIPME") && isWord(value, "NO"):
		f.skipMe = false
	default:
		return syntaxError
	}
	return noProblem
}

func (f *killFilter) matches(o *client) bool {
	return !f.otherType &&
		(f.addr == nil || string(f.addr) == o.rc.RemoteAddr()) &&
		(f.laddr == nil || string(f.laddr) == o.rc.LocalAddr()) &&
		(f.maxAge == 0 || o.rc.Counters().AgeMs/1000 >= f.maxAge) &&
		(f.id == 0 || f.id == o.id())
}

// elsewhere reports whether the filter means one connection that may be on
// another node. What else it asks can be told only where the connection is.
func (f *killFilter) elsewhere() bool {
	return f.id != 0 && f.addr == nil && f.laddr == nil && f.maxAge == 0 && !f.otherType
}

func runClientKill(c *client, args [][]byte) {
	if len(args) == 3 {
		c.killByAddress(args[2])
		return
	}
	f, p := parseKill(args[2:])
	if p != noProblem {
		c.failed(p)
		return
	}
	killed, me, here := int64(0), false, false
	c.h.each(func(o *client) bool {
		if !f.matches(o) {
			return true
		}
		here = true
		if o == c && f.skipMe {
			return true
		}
		killed++
		if o == c {
			me = true
		} else {
			o.rc.Kill()
		}
		return true
	})
	if !here && f.elsewhere() {
		c.op = fsm.Op{Code: fsm.OpKillConn, Target: uint64(f.id)}
		c.do(c.last.Load())
		return
	}
	c.integer(killed)
	if me {
		c.rc.CloseAfterFlush()
	}
}

// killByAddress is the old form, with which a client can kill itself.
func (c *client) killByAddress(address []byte) {
	found := false
	c.h.each(func(o *client) bool {
		if !bytes.Equal(address, []byte(o.rc.RemoteAddr())) {
			return true
		}
		found = true
		if o == c {
			c.ok()
			c.rc.CloseAfterFlush()
		} else {
			o.rc.Kill()
			c.ok()
		}
		return false
	})
	if !found {
		c.failed("ERR No such client")
	}
}
