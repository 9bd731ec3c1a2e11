package commands

import (
	"strings"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

func parseLine(t testing.TB, line string) (op fsm.Op, p problem) {
	t.Helper()
	args := byteArgs(splitLine(t, line))
	s, p := NewTable().resolve(args)
	if p != noProblem || s == nil || s.parse == nil {
		return op, p
	}
	p = s.parse(args, &op)
	return op, p
}

// optionErrors are lines and the errors that they get, word for word.
func optionErrors() map[string]problem {
	const (
		lease = "ERR LEASE must be a whole number of milliseconds, 1 to 9007199254740992: got "
		wait  = "ERR TIMEOUT must be a whole number of milliseconds, 0 to 9007199254740992: got "
		renew = "ERR the lease of RENEW must be a whole number of milliseconds, 1 to 9007199254740992: got "
	)
	long := func(n int) string { return strings.Repeat("x", n) }
	return map[string]problem{
		"LOCK k LEASE":                         syntaxError,
		"LOCK k LEASE 5 LEASE 5":               syntaxError,
		"LOCK k KEEP LEASE 5 KEEP":             syntaxError,
		"LOCK k NONSENSE":                      syntaxError,
		"LOCK k k":                             syntaxError,
		"LOCK k TIMEOUT 5":                     syntaxError,
		"LOCK k FENCE 5":                       syntaxError,
		"LOCK k OWNER":                         syntaxError,
		"LOCK k WAITED":                        syntaxError,
		"LOCK k LEASE 0":                       lease + "'0'",
		"LOCK k LEASE -5":                      lease + "'-5'",
		"LOCK k LEASE 1.5":                     lease + "'1.5'",
		"LOCK k LEASE 30s":                     lease + "'30s'",
		"LOCK k LEASE +5":                      lease + "'+5'",
		"LOCK k LEASE 05":                      lease + "'05'",
		`LOCK k LEASE ""`:                      lease + "''",
		`LOCK k LEASE "5 "`:                    lease + "'5 '",
		`LOCK k LEASE "\r\n"`:                  lease + `'\r\n'`,
		"LOCK k LEASE 9007199254740993":        lease + "'9007199254740993'",
		"LOCK k LEASE 99999999999999999999999": lease + "'99999999999999999999999'",
		"LOCK k LEASE -9223372036854775809":    lease + "'-9223372036854775809'",
		"TRYLOCK k TIMEOUT -1":                 wait + "'-1'",
		"TRYLOCK k TIMEOUT x":                  wait + "'x'",
		"TRYLOCK k TIMEOUT 9007199254740993":   wait + "'9007199254740993'",
		"RENEW k 0":                            renew + "'0'",
		"RENEW k x":                            renew + "'x'",
		"RENEW k 5 LEASE 5":                    syntaxError,
		"RENEW k 5 FENCE 0":                    notAnInteger,
		"LOCK k KEEP":                          keepNoLease,
		"LOCK k KEEP OWNER a":                  keepNoLease,
		"LOCK k KEEP LEASE 5 OWNER a":          keepOwner,
		"LOCK k ASYNC":                         asyncNoID,
		"TRYLOCK k ASYNC TIMEOUT 5":            asyncNoID,
		`LOCK ""`:                              "ERR key must be 1 to 512 bytes: got 0",
		"LOCK " + long(513):                    "ERR key must be 1 to 512 bytes: got 513",
		`LOCK k OWNER ""`:                      "ERR OWNER must be 1 to 64 bytes: got 0",
		"LOCK k OWNER " + long(65):             "ERR OWNER must be 1 to 64 bytes: got 65",
		"LOCK k ID " + long(65):                "ERR ID must be 1 to 64 bytes: got 65",
		`LOCK k NOTE ""`:                       "ERR NOTE must be 1 to 128 bytes: got 0",
		"LOCK k NOTE " + long(129):             "ERR NOTE must be 1 to 128 bytes: got 129",
		"UNLOCK k FENCE 0":                     notAnInteger,
		"UNLOCK k FENCE -1":                    notAnInteger,
		"UNLOCK k FENCE x":                     notAnInteger,
		"UNLOCK k FENCE 9007199254740993":      notAnInteger,
		"UNLOCK k LEASE 5":                     syntaxError,
		"FORCEUNLOCK k OWNER a":                syntaxError,
		"FORCEUNLOCK k FENCE":                  syntaxError,
		"UNWAIT k OWNER a":                     syntaxError,
		"UNWAIT k ID a ID b":                   syntaxError,
		"UNWAIT k ID a OWNER":                  syntaxError,
		"LOCKCOUNT k FENCE 1":                  syntaxError,
		"ISOWNER k OWNER":                      syntaxError,
		"LOCKWAITERS k COUNT 0":                syntaxError,
		"LOCKWAITERS k COUNT x":                notAnInteger,
		"LOCKWAITERS k 5":                      syntaxError,
		"LOCKSCAN x":                           invalidCursor,
		"LOCKSCAN -1":                          invalidCursor,
		"LOCKSCAN 18446744073709551616":        invalidCursor,
		"LOCKSCAN 0 COUNT 0":                   syntaxError,
		"LOCKSCAN 0 COUNT -1":                  syntaxError,
		"LOCKSCAN 0 COUNT x":                   notAnInteger,
		"LOCKSCAN 0 MATCH":                     syntaxError,
		`LOCKSCAN 0 MATCH ""`:                  "ERR MATCH must be 1 to 1024 bytes: got 0",
		"LOCKSCAN 0 MATCH " + long(1025):       "ERR MATCH must be 1 to 1024 bytes: got 1025",
		`LOCKSCAN 0 SESSION ""`:                "ERR SESSION must be 1 to 128 bytes: got 0",
		"LOCKSCAN 0 WAITED WAITED":             syntaxError,
		"DESTROY k LEASE 5":                    syntaxError,
		"SESSION ATTACH " + long(129):          problem("ERR session name must be 1 to 128 printable bytes without spaces: got '" + long(128) + "'"),
	}
}

func TestOptionErrors(t *testing.T) {
	for line, want := range optionErrors() {
		if _, p := parseLine(t, line); p != want {
			t.Errorf("%.60s: %q, want %q", line, p, want)
		}
	}
}

func TestOptionBounds(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for line, want := range map[string]fsm.Op{
		"LOCK " + long(512): {Code: fsm.OpLock, Key: []byte(long(512))},
		"LOCK k OWNER " + long(64) + " ID " + long(64) + " NOTE " + long(128): {
			Code: fsm.OpLock, Key: []byte("k"), Owner: []byte(long(64)), ID: []byte(long(64)), Note: []byte(long(128)),
		},
		"LOCK k LEASE 9007199254740992":      {Code: fsm.OpLock, Key: []byte("k"), Lease: 1 << 53},
		"TRYLOCK k TIMEOUT 0 LEASE 1":        {Code: fsm.OpTryLock, Key: []byte("k"), Lease: 1},
		"TrYlOcK k TiMeOuT 7":                {Code: fsm.OpTryLock, Key: []byte("k"), Timeout: 7},
		"LOCK KEEP KEEP LEASE 5":             {Code: fsm.OpLock, Key: []byte("KEEP"), Lease: 5, Flags: fsm.FlagKeep},
		"LOCK k OWNER KEEP":                  {Code: fsm.OpLock, Key: []byte("k"), Owner: []byte("KEEP")},
		"LOCK k ASYNC ID i KEEP LEASE 5":     {Code: fsm.OpLock, Key: []byte("k"), ID: []byte("i"), Lease: 5, Flags: fsm.FlagKeep | fsm.FlagAsync},
		"UNLOCK k FENCE 9007199254740992":    {Code: fsm.OpUnlock, Key: []byte("k"), Fence: 1 << 53},
		"LOCKSCAN 0 WAITED DESTROYED":        {Code: fsm.OpLockScan, Flags: fsm.FlagWaited | fsm.FlagDestroyed},
		"SESSION ATTACH a TTL 86400000":      {Code: fsm.OpSessionAttach, Name: []byte("a"), Lease: 86400000},
		"SESSION ATTACH a heartbeat":         {Code: fsm.OpSessionAttach, Name: []byte("a"), Flags: fsm.FlagHeartbeat},
		"CLIENT UNBLOCK -5":                  {Code: fsm.OpUnblock},
		"CLIENT UNBLOCK 9223372036854775807": {Code: fsm.OpUnblock, Target: 1<<63 - 1},
	} {
		op, p := parseLine(t, line)
		if got := describeOp(&op); p != noProblem || got != describeOp(&want) {
			t.Errorf("%.60s: %q %s, want %s", line, p, got, describeOp(&want))
		}
	}
}

func TestParseInt(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "7": 7, "-7": -7, "9223372036854775807": 1<<63 - 1, "-9223372036854775808": -1 << 63} {
		if n, ok := parseInt([]byte(in)); !ok || n != want {
			t.Errorf("%s is %d, %v", in, n, ok)
		}
	}
	for _, in := range []string{"", "-", "-0", "00", "+1", " 1", "1 ", "0x1", "1e3", "9223372036854775808", "-9223372036854775809", "١"} {
		if n, ok := parseInt([]byte(in)); ok {
			t.Errorf("%q is %d", in, n)
		}
	}
}

// FuzzArguments: no arguments make parsing panic or let through what the
// machine must never see.
func FuzzArguments(f *testing.F) {
	table := NewTable()
	table.Specs(func(s *Spec) bool {
		_, line, _ := strings.Cut(strings.SplitN(s.Example, "\n", 2)[0], "> ")
		f.Add(line)
		f.Add(s.Syntax())
		return true
	})
	f.Fuzz(func(t *testing.T, line string) {
		args := byteArgs(strings.Split(line, " "))
		s, p := table.resolve(args)
		if s == nil || p != noProblem || s.parse == nil {
			return
		}
		var op fsm.Op
		if p := s.parse(args, &op); p != noProblem {
			if !strings.HasPrefix(string(p), "ERR ") {
				t.Errorf("%q: problem %q has no code", line, p)
			}
			return
		}
		if op.Code == fsm.OpInvalid || len(op.Key) > maxKey || len(op.Owner) > maxLabel || len(op.ID) > maxLabel || len(op.Note) > maxNote ||
			len(op.Name) > maxPattern || len(op.Value) > maxSessionName {
			t.Errorf("%q makes the op %s", line, describeOp(&op))
		}
		if op.Lease < 0 || op.Lease > maxWhole || op.Timeout < 0 || op.Timeout > maxWhole || op.Count < 0 || op.Code != fsm.OpLockScan && op.Fence > maxWhole {
			t.Errorf("%q makes the op %s", line, describeOp(&op))
		}
		if s.Key != KeyNone && len(op.Key) == 0 {
			t.Errorf("%q makes an op without a key", line)
		}
	})
}

// FuzzHandshake: the arguments of local commands are parsed with care too.
func FuzzHandshake(f *testing.F) {
	f.Add("3 AUTH default x SETNAME session:a")
	f.Add("ID 5 SKIPME no TYPE normal")
	f.Fuzz(func(_ *testing.T, line string) {
		args := byteArgs(strings.Split(line, " "))
		_, _ = parseHello(append([][]byte{[]byte("HELLO")}, args...))
		_, _ = parseKill(args)
		globMatch(line, "max-holds-per-session")
	})
}
