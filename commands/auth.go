package commands

import (
	"crypto/sha256"
	"crypto/subtle"
)

// The only user.
const defaultUser = "default"

// Redis's words, which client libraries compare.
const (
	noAuth          problem = "NOAUTH Authentication required."
	noAuthHello     problem = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
	wrongPass       problem = "WRONGPASS invalid username-password pair or user is disabled."
	noPassword      problem = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
	noProto         problem = "NOPROTO unsupported protocol version"
	protoNotInteger problem = "ERR Protocol version is not an integer or out of range"
	badClientName   problem = "ERR Client names cannot contain spaces, newlines or special characters."
)

// mayRun says why the connection may not run the command: AUTH, HELLO, QUIT
// and RESET it always may, anything else after AUTH where a password is
// required; a subscriber with RESP2 only what cannot be taken for a message.
func (c *client) mayRun(spec *Spec) problem {
	switch {
	case spec.Flags&NoAuth == 0 && !c.allowed():
		return noAuth
	case c.subscribed > 0 && c.rc.Proto() == 2 && !spec.subscriber:
		return problem("ERR Can't execute '" + spec.full + "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context")
	}
	return noProblem
}

// allowed reports whether the connection is authenticated or need not be.
func (c *client) allowed() bool {
	if !c.authed && c.h.o.Password() == "" {
		c.authenticate()
	}
	return c.authed
}

func (c *client) authenticate() {
	c.authed = true
	c.rc.SetAuthenticated(true)
}

// deauthenticate puts the connection back to where a new one is.
func (c *client) deauthenticate() {
	c.authed = c.h.o.Password() == ""
	c.rc.SetAuthenticated(c.authed)
}

// login checks a user and a password. Comparing hashes takes the same time
// whatever was sent, its length included.
func (c *client) login(user, password []byte) bool {
	want := c.h.o.Password()
	if string(user) != defaultUser {
		return false
	}
	a, b := sha256.Sum256(password), sha256.Sum256([]byte(want))
	return want == "" || subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func runAuth(c *client, args [][]byte) {
	user, password := []byte(defaultUser), args[1]
	switch len(args) {
	case 2:
		if c.h.o.Password() == "" {
			c.failed(noPassword)
			return
		}
	case 3:
		user, password = args[1], args[2]
	default:
		c.failed(syntaxError)
		return
	}
	if !c.login(user, password) {
		c.failed(wrongPass)
		return
	}
	c.authenticate()
	c.ok()
}

// hello is what a HELLO line asks for.
type hello struct {
	proto          int // 0: as it is
	user, password []byte
	auth           bool
	name           []byte
	setName        bool
}

func parseHello(args [][]byte) (h hello, p problem) {
	if len(args) == 1 {
		return h, noProblem
	}
	proto, ok := parseInt(args[1])
	switch {
	case !ok:
		return h, protoNotInteger
	case proto != 2 && proto != 3:
		return h, noProto
	}
	h.proto = int(proto)
	for i := 2; i < len(args); i++ {
		more := len(args) - 1 - i
		switch {
		case isWord(args[i], "AUTH") && more >= 2:
			h.auth, h.user, h.password = true, args[i+1], args[i+2]
			i += 2
		case isWord(args[i], "SETNAME") && more >= 1:
			h.setName, h.name = true, args[i+1]
			if p := checkClientName(h.name); p != noProblem {
				return h, p
			}
			i++
		default:
			return h, problem("ERR Syntax error in HELLO option '" + string(shorten(args[i])) + "'")
		}
	}
	return h, noProblem
}

func runHello(c *client, args [][]byte) {
	h, p := parseHello(args)
	if p != noProblem {
		c.failed(p)
		return
	}
	if h.auth {
		if !c.login(h.user, h.password) {
			c.failed(wrongPass)
			return
		}
		c.authenticate()
	}
	if !c.allowed() {
		c.failed(noAuthHello)
		return
	}
	id, err := c.sc.ID()
	if err != nil {
		c.failed(clusterDown(err))
		return
	}
	if h.setName {
		if p := c.setName(h.name); p != noProblem {
			c.failed(p)
			return
		}
	}
	if h.proto != 0 {
		c.rc.SetProto(h.proto)
	}
	mode, role := c.h.mode(), "master"
	if !c.h.leads() {
		role = "replica"
	}
	fields := 7
	if c.h.sentinel != nil {
		fields-- // as Redis, which has no role there
	}
	w := c.rc.Begin()
	w.Map(fields)
	text(w, "server", "redlockd")
	text(w, "version", RedisVersion)
	number(w, "proto", int64(c.rc.Proto()))
	number(w, "id", int64(id))
	text(w, "mode", mode)
	if c.h.sentinel == nil {
		text(w, "role", role)
	}
	w.BulkString("modules")
	w.Array(0)
	c.rc.End(0)
}
