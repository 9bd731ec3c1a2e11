package commands

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/redlockd/redlockd/fsm"
)

// errorKind is one row of the table of errors: the manual prints it, replies use its code.
type errorKind struct {
	code    fsm.Code
	word    string
	means   string
	outcome string
}

// errorKinds lists the codes in the order of the manual.
func errorKinds() []errorKind {
	return []errorKind{
		{fsm.CodeNotOwner, "NOTOWNER", "the caller does not hold this lock", "nothing done"},
		{fsm.CodeLockLost, "LOCKLOST", "the caller held it and lost it: session closed, lease ended, forced, destroyed", "nothing done"},
		{fsm.CodeLockLimit, "LOCKLIMIT", "the reentrant acquire limit is reached", "nothing done"},
		{fsm.CodeCancelled, "CANCELLED", "this wait was superseded by the same owner, or ended by CLIENT UNBLOCK", "not acquired"},
		{fsm.CodeDeadlock, "DEADLOCK", "the holder is behind this request on the same connection", "nothing done"},
		{fsm.CodeDestroyed, "DESTROYED", "the name was destroyed", "not acquired"},
		{fsm.CodeNoSession, "NOSESSION", "the session ended while this request was under way", "not acquired"},
		{fsm.CodeClusterDown, "CLUSTERDOWN", "no leader, or not enough nodes, within request-timeout", "nothing done, safe to retry"},
		{fsm.CodeUncertain, "UNCERTAIN", "the cluster cannot tell whether it was done", "the server closes the connection after it"},
		{fsm.CodeLimit, "LIMIT", "a configured limit is reached: waiters, sessions, holds", "nothing done"},
		{fsm.CodeErr, "ERR", "unknown command, wrong number of arguments, syntax, value out of range", "nothing done"},
	}
}

// codeWord is the first word of an error line.
func codeWord(code fsm.Code) string {
	for _, k := range errorKinds() {
		if k.code == code {
			return k.word
		}
	}
	return "ERR"
}

// phraseError makes the error line of a reply: the code, and a sentence that a
// person understands who knows nothing but the command. It is one line of
// printable text whatever the keys and names are made of.
func phraseError(op *fsm.Op, r *fsm.Reply) (code, sentence string) {
	d := r.Detail
	if d == nil {
		d = &fsm.Detail{}
	}
	return codeWord(r.Code), oneLine(sentenceOf(op, r.Code, d))
}

func sentenceOf(op *fsm.Op, code fsm.Code, d *fsm.Detail) string {
	lock := "lock " + quote(op.Key)
	switch code {
	case fsm.CodeNotOwner:
		return lock + notOwner(op, d)
	case fsm.CodeLockLost:
		return lock + withFence(d.Fence) + " was lost: " + because(op, d) + heldNow(d) + "; stop the work that it guards"
	case fsm.CodeLockLimit:
		return fmt.Sprintf("%s is held by %s as often as lock-acquire-limit allows (%d): UNLOCK it first", lock, caller(op, d), d.Number)
	case fsm.CodeCancelled:
		return "the wait for " + lock + " has ended: " + because(op, d) + "; it was not acquired"
	case fsm.CodeDeadlock:
		return lock + " is held by " + party(d.Holder) + ", whose UNLOCK could only come behind this request on the same connection: use another connection, or ASYNC"
	case fsm.CodeDestroyed:
		return lock + " was destroyed" + noted(d.Text) + ": nobody can take it before UNDESTROY"
	case fsm.CodeNoSession:
		return "the session ended while this request was under way: " + because(op, d) + "; nothing was acquired"
	case fsm.CodeLimit, fsm.CodeErr:
		return because(op, d)
	case fsm.CodeClusterDown:
		return "no leader, or not enough nodes, within request-timeout" + noted(d.Text) + ": nothing was done, try again"
	case fsm.CodeUncertain:
		return "the cluster cannot tell whether this was done" + noted(d.Text) +
			": the connection closes, which undoes it in an anonymous session; in a named one ask again with the same ID"
	case fsm.CodeOK:
	}
	return "no error"
}

// because tells a reason. It covers every fsm.Why; a test walks them all.
func because(op *fsm.Op, d *fsm.Detail) string {
	switch d.Why {
	case fsm.WhyNone:
		return "no reason is known" + noted(d.Text)
	case fsm.WhySessionClosed:
		return "its session was closed by SESSION CLOSE"
	case fsm.WhySessionExpired:
		return "its session's TTL passed without a connection, or with HEARTBEAT without a word from one"
	case fsm.WhySessionKilled:
		return "its session was ended by SESSION KILL"
	case fsm.WhyNodeLost:
		return "the node of its connection was lost or restarted"
	case fsm.WhyConnClosed:
		return "its connection closed"
	case fsm.WhyReset:
		return "its connection left the session by RESET, SESSION DETACH or CLIENT SETNAME"
	case fsm.WhyLeaseEnded:
		return "its lease ended"
	case fsm.WhyForced:
		return "somebody released it by FORCEUNLOCK"
	case fsm.WhyDestroyed:
		return "the lock was destroyed" + noted(d.Text)
	case fsm.WhyUnclaimed:
		return "the request was not repeated with its ID within the session's TTL"
	case fsm.WhyReleased:
		return "the hold that this ID acquired was released since"
	case fsm.WhySuperseded:
		return "a newer LOCK or TRYLOCK of the same owner took its place"
	case fsm.WhyUnblocked:
		return "CLIENT UNBLOCK ended it"
	case fsm.WhyUnwaited:
		return "UNWAIT withdrew it"
	case fsm.WhyFree:
		return "nobody holds it"
	case fsm.WhyOther:
		return party(d.Holder) + " holds it"
	case fsm.WhyOtherFence:
		return "it is held with fence " + strconv.FormatUint(d.Fence, 10)
	case fsm.WhyLimit:
		return fmt.Sprintf("%s is %d and it is reached: nothing was done; try again later, or raise it by CONFIG SET", d.Text, d.Number)
	case fsm.WhyDiskFull:
		return "the disk is nearly full: new locks are refused, releases are still accepted; make room on the data directory"
	case fsm.WhyIDReused:
		return "ID " + quote(op.ID) + " belongs to another command for lock " + quote(op.Key) + ": draw a new ID for each request"
	case fsm.WhyAnonymousHolds:
		return "the connection's own session holds or waits for a lock: UNLOCK, or RESET, before it is attached to a named session"
	case fsm.WhyHeartbeatTTL:
		return fmt.Sprintf("TTL must be a whole number of milliseconds, %d (session-timeout) to %d, for a session with HEARTBEAT", d.Number, maxTTL)
	case fsm.WhyNoSuchSetting:
		return string(unknownSetting(string(op.Name)))[len("ERR "):]
	case fsm.WhyBadSetting:
		return string(badSetting(string(op.Name), d.Text))[len("ERR "):]
	case fsm.WhyNoSuchSession:
		return "no such session " + quote(cmp.Or(d.Text, string(op.Name)))
	case fsm.WhyCostly:
		return fmt.Sprintf("the pattern takes too long for %d sessions, and all nodes stand still meanwhile: use a simpler one", d.Number)
	}
	return "reason " + strconv.Itoa(int(d.Why))
}

// notOwner goes on after the lock's name.
func notOwner(op *fsm.Op, d *fsm.Detail) string {
	switch {
	case d.Why == fsm.WhyFree:
		return " is free: " + caller(op, d) + " does not hold it"
	case d.Why == fsm.WhyOtherFence:
		return " is held" + withFence(d.Fence) + ", not with fence " + strconv.FormatUint(op.Fence, 10)
	case d.Why != fsm.WhyOther:
		return " is not held by " + caller(op, d)
	case d.Holder.Session == 0:
		return " is held by no session (KEEP), not by " + caller(op, d) + ": name its FENCE"
	}
	return " is held by " + party(d.Holder) + ", not by " + caller(op, d)
}

// party names a holder: its session, and the name by which people know it.
func party(p fsm.Party) string {
	if p.Session == 0 {
		return "no session (KEEP)"
	}
	s := "session " + p.Session.String()
	if p.Owner != "" {
		s = "owner " + quote(p.Owner) + " of " + s
	}
	for _, name := range []string{p.SessionName, p.ClientName, p.Addr} {
		if name == "" {
			continue
		}
		if !printable(name) {
			name = quote(name)
		}
		return s + " (" + name + ")"
	}
	return s
}

// caller names who sent the command.
func caller(op *fsm.Op, d *fsm.Detail) string {
	s := "the caller"
	if d.Caller != 0 {
		s = "session " + d.Caller.String()
	}
	if len(op.Owner) != 0 {
		s = "owner " + quote(op.Owner) + " of " + s
	}
	return s
}

func heldNow(d *fsm.Detail) string {
	if d.Holder.Session == 0 {
		return ""
	}
	return "; " + party(d.Holder) + " holds it now"
}

func withFence(fence uint64) string {
	if fence == 0 {
		return ""
	}
	return " with fence " + strconv.FormatUint(fence, 10)
}

func noted(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

// quote prints a key or a label of any bytes as Go does: readable text stays,
// the rest is escaped, so that no key can break or forge a line.
func quote[T []byte | string](b T) string { return strconv.Quote(string(b)) }

// oneLine is the last guard in front of the wire: notes and values come from clients.
func oneLine(s string) string {
	if !strings.ContainsAny(s, "\r\n") {
		return s
	}
	return strings.NewReplacer("\r", " ", "\n", " ").Replace(s)
}

func unknownSetting(name string) problem {
	return problem(fmt.Sprintf("ERR Unknown option or number of arguments for CONFIG SET - %s", single([]byte(name))))
}

func badSetting(name, why string) problem {
	return problem(fmt.Sprintf("ERR CONFIG SET failed (possibly related to argument %s) - %s", single([]byte(name)), why))
}
