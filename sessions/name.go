package sessions

import (
	"fmt"
	"strings"

	"github.com/redlockd/redlockd/fsm"
)

// sessionPrefix in front of a client name asks for the session named behind it.
const sessionPrefix = "session:"

const maxSessionName = 128

// wish is the session that the client name asks for.
type wish struct {
	session string
	state   wishState
	gen     uint32 // counts wishes, so that a late reply does not speak for another one
}

type wishState uint8

const (
	wishNone   wishState = iota // none, or cleared by ATTACH, DETACH or RESET
	wishWanted                  // goes in front of the next lock or session op
	wishAsked                   // is on its way
	wishDone                    // the machine has attached the connection
)

// unsure stands for a session that the connection may be attached to; no session
// can have this name.
const unsure = " "

// sessionOf returns the session that a client name asks for, empty if none.
func sessionOf(name string) (string, error) {
	session, asks := strings.CutPrefix(name, sessionPrefix)
	if !asks {
		return "", nil
	}
	valid := len(session) >= 1 && len(session) <= maxSessionName
	for i := 0; valid && i < len(session); i++ {
		valid = session[i] > ' ' && session[i] < 0x7f
	}
	if !valid {
		return "", fmt.Errorf("client name %q: %w", name, ErrSessionName)
	}
	return session, nil
}

// SetName gives the connection a client name. A name "session:NAME" asks for
// that session: the attachment goes in front of the next lock or session op, and
// again in front of each later one until it succeeds or SESSION ATTACH, SESSION
// DETACH or RESET does. Another name detaches from a session that a name asked
// for, not from one that SESSION ATTACH chose. SetName answers nothing and waits
// for nothing; its one error is ErrSessionName, and then nothing has changed.
func (c *Conn) SetName(name string) error {
	session, err := sessionOf(name)
	if err != nil {
		return err
	}
	c.Flush() // what was asked before comes before
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done || name == c.name && (session == "" || c.wish.state != wishNone) {
		return nil
	}
	c.name = name
	c.wish = wish{session: session, gen: c.wish.gen + 1}
	if session != "" {
		c.wish.state = wishWanted
	}
	if !c.opened {
		return nil // OpOpen will bring the name
	}
	if c.asked != "" && c.asked != session {
		c.asked = ""
		c.line(newSlot(&fsm.Op{Code: fsm.OpSessionDetach}, nil, true))
	}
	if c.describing == 0 {
		c.describe()
	} else {
		c.dirty, c.renamed = true, true
	}
	c.again()
	c.propose()
	return nil
}

// heed does what the op that is about to be lined up means for the wish.
func (c *Conn) heed(s *slot) {
	w := &c.wish
	s.wish, s.was = w.gen, w.state
	switch code := s.op.Code; {
	case code == fsm.OpSessionDetach || code == fsm.OpReset:
		w.state, c.asked = wishNone, ""
	case code == fsm.OpSessionAttach:
		c.asked = "" // the client chose it: only a client name undoes what a client name did
		if w.state == wishWanted {
			// It takes the wish's place. Should it fail, what is behind it in the
			// pipeline must not act without a session: the machine sees to that.
			s.op.Flags |= fsm.FlagByName
			w.state = wishAsked
		}
	case w.state == wishWanted && asksSession(code):
		c.line(c.attachment())
	}
}

// attachment returns the attachment that the name asks for.
func (c *Conn) attachment() *slot {
	w := &c.wish
	w.state, c.asked = wishAsked, w.session
	s := newSlot(&fsm.Op{Code: fsm.OpSessionAttach, Flags: fsm.FlagByName, Name: []byte(w.session)}, nil, true)
	s.byName, s.wish = true, w.gen
	return s
}

// chose reports whether with this op the client chooses its session itself.
func (s *slot) chose() bool {
	switch s.op.Code {
	case fsm.OpSessionAttach, fsm.OpSessionDetach, fsm.OpReset:
		return !s.silent
	default:
		return false
	}
}

// asksSession reports whether an op is a lock or session op that needs the
// session that the name asks for.
func asksSession(code fsm.OpCode) bool {
	return code >= fsm.OpLock && code <= fsm.OpSessionKill
}

// learn notes what the reply to an op means for this node's picture.
func (c *Conn) learn(s *slot, r *fsm.Reply) {
	ok := r.Code == fsm.CodeOK
	switch s.op.Code {
	case fsm.OpLock, fsm.OpTryLock:
		c.holds = c.holds || ok && r.Int != 0 // a fence, or -1: in line
	case fsm.OpSessionID:
		if ok && c.attached == 0 {
			c.anonymous = fsm.SessionID(r.Int)
		}
	case fsm.OpSessionClose:
		if ok {
			c.holds = false
			c.anonymous = 0
		}
	case fsm.OpSessionAttach:
		c.learnAttach(s, ok)
	case fsm.OpSessionDetach, fsm.OpReset:
		c.learnDetach(s, ok)
	case fsm.OpDescribe:
		c.describing--
	default: // says nothing of the session
	}
}

// learnDetach notes what became of SESSION DETACH or RESET.
func (c *Conn) learnDetach(s *slot, ok bool) {
	latest := s.wish == c.wish.gen
	if !ok { // it never reached the machine: the wish stands as before
		c.asked = unsure
		switch {
		case !latest || c.wish.state != wishNone:
		case s.was == wishAsked:
			c.wish.state = wishWanted // what became of it went unnoticed
		default:
			c.wish.state = s.was
		}
		return
	}
	if s.op.Code != fsm.OpReset {
		return
	}
	c.holds, c.anonymous = false, 0
	if latest && c.name != "" {
		c.name, c.dirty = "", true // RESET takes the client name too, as in Redis
	}
}

// learnAttach notes what became of an attachment and of the wish behind it.
func (c *Conn) learnAttach(s *slot, ok bool) {
	if ok {
		c.sessionName = string(s.op.Name)
	}
	if s.wish != c.wish.gen {
		return
	}
	switch w := &c.wish; {
	case ok && s.byName && w.state == wishAsked:
		w.state = wishDone
	case ok && !s.byName:
		w.state = wishNone // the client chose for itself
	case !ok && s.op.Flags&fsm.FlagByName != 0 && w.state == wishAsked:
		w.state = wishWanted
		if !s.byName {
			c.asked = unsure // the machine refuses what follows, until another name takes that back
		}
	}
}
