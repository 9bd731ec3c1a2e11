package commands

import (
	"fmt"
	"strconv"

	"github.com/redlockd/redlockd/fsm"
)

// The ranges of arguments, of COMMANDS.md.
const (
	maxKey         = 512
	maxLabel       = 64
	maxNote        = 128
	maxSessionName = 128
	maxPattern     = 1024
	maxClientName  = 256
	maxWhole       = 1 << 53 // the last integer that clients with floats read exactly
	minTTL         = 1_000
	maxTTL         = 86_400_000
)

// problem is the error line of a command that is wrong by itself: the code,
// a space, the sentence. Empty: none.
type problem string

const (
	noProblem     problem = ""
	syntaxError   problem = "ERR syntax error"
	notAnInteger  problem = "ERR value is not an integer or out of range"
	invalidCursor problem = "ERR invalid cursor"
	keepNoLease   problem = "ERR KEEP needs LEASE: a hold that belongs to no session must have an end"
	keepOwner     problem = "ERR KEEP takes no OWNER: such a hold belongs to nobody, its fence says which hold is meant"
	asyncNoID     problem = "ERR ASYNC needs ID: the same line with the same ID asks again"
)

// isWord compares an argument with an upper-case word, whatever its case.
func isWord(arg []byte, word string) bool {
	if len(arg) != len(word) {
		return false
	}
	for i := range len(word) {
		c := arg[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// parseInt reads a decimal integer as Redis does: no sign but minus, no
// leading zeros, no blanks.
func parseInt(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	digits, negative := b, false
	if b[0] == '-' {
		digits, negative = b[1:], true
	}
	n, ok := parseUint(digits)
	switch {
	case !ok || negative && n == 0:
		return 0, false
	case negative && n <= 1<<63:
		return -int64(n), true
	case !negative && n < 1<<63:
		return int64(n), true
	}
	return 0, false
}

// parseUint reads a decimal integer without a sign, by the same rules.
func parseUint(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 || len(b) > 1 && b[0] == '0' {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		d := uint64(c - '0')
		if n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// parseTime reads a time in ms. The sentence names the unit, because seconds
// are the mistake that people make.
func parseTime(what string, b []byte, low, high int64) (int64, problem) {
	if n, ok := parseInt(b); ok && n >= low && n <= high {
		return n, noProblem
	}
	return 0, problem(fmt.Sprintf("ERR %s must be a whole number of milliseconds, %d to %d: got %s", what, low, high, single(b)))
}

// parseCount reads a COUNT or a FENCE: 1 to 2^53.
func parseCount(b []byte) (int64, problem) {
	n, ok := parseInt(b)
	if !ok || n < 1 || n > maxWhole {
		return 0, notAnInteger
	}
	return n, noProblem
}

// parseSize checks an argument that may be any bytes, 1 to high of them.
func parseSize(what string, b []byte, high int) problem {
	if len(b) >= 1 && len(b) <= high {
		return noProblem
	}
	return problem(fmt.Sprintf("ERR %s must be 1 to %d bytes: got %d", what, high, len(b)))
}

// parseSessionName checks the name of a session that is to be attached to.
func parseSessionName(name []byte) problem {
	if len(name) >= 1 && len(name) <= maxSessionName && printable(name) {
		return noProblem
	}
	return problem(fmt.Sprintf("ERR session name must be 1 to %d printable bytes without spaces: got %s", maxSessionName, single(shorten(name))))
}

// printable reports whether b is made of ASCII letters and signs without
// spaces: what may stand in a line of CLIENT LIST.
func printable[T []byte | string](b T) bool {
	for i := range len(b) {
		if b[i] < '!' || b[i] > '~' {
			return false
		}
	}
	return true
}

// single quotes an argument of any bytes for a person: 'abc', safe in a line.
func single(b []byte) string {
	q := strconv.Quote(string(shorten(b)))
	return "'" + q[1:len(q)-1] + "'"
}

// shorten keeps error lines of a sane length, whatever was sent.
func shorten(b []byte) []byte {
	const most = 128
	if len(b) > most {
		return b[:most]
	}
	return b
}

// option is a set of the option words of lock and session commands.
type option uint16

const (
	optLease option = 1 << iota
	optTimeout
	optOwner
	optID
	optNote
	optFence
	optCount
	optMatch
	optSession
	optTTL
	optKeep
	optAsync
	optWaited
	optDestroyed
	optHeartbeat

	optFlags = optKeep | optAsync | optWaited | optDestroyed | optHeartbeat // words without a value
)

// optionOf finds the option that an argument names, 0 if none.
func optionOf(arg []byte) option {
	switch len(arg) {
	case 2:
		return match(arg, "ID", optID)
	case 3:
		return match(arg, "TTL", optTTL)
	case 4:
		return match(arg, "NOTE", optNote) | match(arg, "KEEP", optKeep)
	case 5:
		return match(arg, "LEASE", optLease) | match(arg, "OWNER", optOwner) | match(arg, "FENCE", optFence) |
			match(arg, "ASYNC", optAsync) | match(arg, "COUNT", optCount) | match(arg, "MATCH", optMatch)
	case 6:
		return match(arg, "WAITED", optWaited)
	case 7:
		return match(arg, "TIMEOUT", optTimeout) | match(arg, "SESSION", optSession)
	case 9:
		return match(arg, "DESTROYED", optDestroyed) | match(arg, "HEARTBEAT", optHeartbeat)
	}
	return 0
}

func match(arg []byte, word string, o option) option {
	if isWord(arg, word) {
		return o
	}
	return 0
}

// parseOptions reads options in any order, each at most once, into op.
func parseOptions(args [][]byte, allowed option, op *fsm.Op) (seen option, p problem) {
	for i := 0; i < len(args); i++ {
		o := optionOf(args[i])
		if o == 0 || o&allowed == 0 || o&seen != 0 {
			return seen, syntaxError
		}
		seen |= o
		if o&optFlags != 0 {
			setFlag(op, o)
			continue
		}
		if i++; i == len(args) {
			return seen, syntaxError
		}
		if p = setValue(op, o, args[i]); p != noProblem {
			return seen, p
		}
	}
	return seen, noProblem
}

func setFlag(op *fsm.Op, o option) {
	switch o {
	case optKeep:
		op.Flags |= fsm.FlagKeep
	case optAsync:
		op.Flags |= fsm.FlagAsync
	case optWaited:
		op.Flags |= fsm.FlagWaited
	case optDestroyed:
		op.Flags |= fsm.FlagDestroyed
	case optHeartbeat:
		op.Flags |= fsm.FlagHeartbeat
	default: // the others carry a value
	}
}

func setValue(op *fsm.Op, o option, v []byte) (p problem) {
	switch o {
	case optLease:
		op.Lease, p = parseTime("LEASE", v, 1, maxWhole)
	case optTimeout:
		op.Timeout, p = parseTime("TIMEOUT", v, 0, maxWhole)
	case optTTL:
		op.Lease, p = parseTime("TTL", v, minTTL, maxTTL)
	case optOwner:
		op.Owner, p = v, parseSize("OWNER", v, maxLabel)
	case optID:
		op.ID, p = v, parseSize("ID", v, maxLabel)
	case optNote:
		op.Note, p = v, parseSize("NOTE", v, maxNote)
	case optFence:
		var n int64
		n, p = parseCount(v)
		op.Fence = uint64(n)
	case optCount:
		// SCAN answers a COUNT below 1 like this too.
		if op.Count, p = parseCount(v); p != noProblem {
			if n, ok := parseInt(v); ok && n < 1 {
				p = syntaxError
			}
		}
	case optMatch:
		op.Name, p = v, parseSize("MATCH", v, maxPattern)
	case optSession:
		op.Value, p = v, parseSize("SESSION", v, maxSessionName)
	default: // the others are words by themselves
	}
	return p
}
