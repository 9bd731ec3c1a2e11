package commands

import "github.com/redlockd/redlockd/fsm"

// This file turns the arguments of lock and session commands into ops. The
// args begin with the command's own word(s); op comes in empty; its slices
// alias args, which is enough until sessions has copied them.

const (
	acquireOptions = optLease | optOwner | optID | optNote | optKeep | optAsync
	scanOptions    = optMatch | optCount | optSession | optWaited | optDestroyed
)

// parseKey reads the key at argument 1.
func parseKey(args [][]byte, op *fsm.Op, code fsm.OpCode) problem {
	op.Code, op.Key = code, args[1]
	if len(op.Key) >= 1 && len(op.Key) <= maxKey {
		return noProblem
	}
	return parseSize("key", op.Key, maxKey)
}

// parseKeyAnd reads the key, then options.
func parseKeyAnd(args [][]byte, op *fsm.Op, code fsm.OpCode, allowed option) problem {
	if p := parseKey(args, op, code); p != noProblem {
		return p
	}
	_, p := parseOptions(args[2:], allowed, op)
	return p
}

func parseLock(args [][]byte, op *fsm.Op) problem {
	return parseAcquire(args, op, fsm.OpLock, acquireOptions)
}

func parseTryLock(args [][]byte, op *fsm.Op) problem {
	return parseAcquire(args, op, fsm.OpTryLock, acquireOptions|optTimeout)
}

func parseAcquire(args [][]byte, op *fsm.Op, code fsm.OpCode, allowed option) problem {
	if p := parseKey(args, op, code); p != noProblem {
		return p
	}
	seen, p := parseOptions(args[2:], allowed, op)
	switch {
	case p != noProblem:
		return p
	case seen&optKeep != 0 && seen&optLease == 0:
		return keepNoLease
	case seen&optKeep != 0 && seen&optOwner != 0:
		return keepOwner
	case seen&optAsync != 0 && seen&optID == 0:
		return asyncNoID
	}
	return noProblem
}

func parseUnlock(args [][]byte, op *fsm.Op) problem {
	return parseKeyAnd(args, op, fsm.OpUnlock, optOwner|optFence|optID)
}

func parseForceUnlock(args [][]byte, op *fsm.Op) problem {
	return parseKeyAnd(args, op, fsm.OpForceUnlock, optFence)
}

func parseRenew(args [][]byte, op *fsm.Op) (p problem) {
	if p = parseKey(args, op, fsm.OpRenew); p != noProblem {
		return p
	}
	if op.Lease, p = parseTime("the lease of RENEW", args[2], 1, maxWhole); p != noProblem {
		return p
	}
	_, p = parseOptions(args[3:], optOwner|optFence, op)
	return p
}

func parseUnwait(args [][]byte, op *fsm.Op) problem {
	if p := parseKey(args, op, fsm.OpUnwait); p != noProblem {
		return p
	}
	seen, p := parseOptions(args[2:], optID|optOwner, op)
	if p == noProblem && seen&optID == 0 {
		return syntaxError
	}
	return p
}

func parseLockCount(args [][]byte, op *fsm.Op) problem {
	return parseKeyAnd(args, op, fsm.OpLockCount, optOwner)
}

func parseFence(args [][]byte, op *fsm.Op) problem { return parseKey(args, op, fsm.OpFence) }

func parseIsLocked(args [][]byte, op *fsm.Op) problem {
	return parseKeyAnd(args, op, fsm.OpIsLocked, optOwner)
}

func parseIsOwner(args [][]byte, op *fsm.Op) problem {
	return parseKeyAnd(args, op, fsm.OpIsOwner, optOwner)
}

func parseLeaseTime(args [][]byte, op *fsm.Op) problem { return parseKey(args, op, fsm.OpLeaseTime) }

func parseLockInfo(args [][]byte, op *fsm.Op) problem { return parseKey(args, op, fsm.OpLockInfo) }

func parseLockWaiters(args [][]byte, op *fsm.Op) problem {
	return parseKeyAnd(args, op, fsm.OpLockWaiters, optCount)
}

func parseLockScan(args [][]byte, op *fsm.Op) problem {
	cursor, ok := parseUint(args[1])
	if !ok {
		return invalidCursor
	}
	op.Code, op.Fence = fsm.OpLockScan, cursor
	_, p := parseOptions(args[2:], scanOptions, op)
	return p
}

func parseDestroy(args [][]byte, op *fsm.Op) problem {
	return parseKeyAnd(args, op, fsm.OpDestroy, optNote)
}

func parseUndestroy(args [][]byte, op *fsm.Op) problem { return parseKey(args, op, fsm.OpUndestroy) }

func parseSessionID(_ [][]byte, op *fsm.Op) problem {
	op.Code = fsm.OpSessionID
	return noProblem
}

func parseSessionAttach(args [][]byte, op *fsm.Op) problem {
	op.Code, op.Name = fsm.OpSessionAttach, args[2]
	if p := parseSessionName(op.Name); p != noProblem {
		return p
	}
	_, p := parseOptions(args[3:], optTTL|optHeartbeat, op)
	return p
}

func parseSessionDetach(_ [][]byte, op *fsm.Op) problem {
	op.Code = fsm.OpSessionDetach
	return noProblem
}

func parseSessionClose(_ [][]byte, op *fsm.Op) problem {
	op.Code = fsm.OpSessionClose
	return noProblem
}

func parseSessionInfo(args [][]byte, op *fsm.Op) problem {
	op.Code = fsm.OpSessionInfo
	switch len(args) {
	case 2:
		return noProblem
	case 3:
		op.Name = args[2]
		return parseSize("session id or name", op.Name, maxSessionName)
	}
	return syntaxError
}

func parseSessionList(args [][]byte, op *fsm.Op) problem {
	op.Code = fsm.OpSessionList
	_, p := parseOptions(args[2:], optMatch, op)
	return p
}

func parseSessionKill(args [][]byte, op *fsm.Op) problem {
	op.Code, op.Name = fsm.OpSessionKill, args[2]
	return parseSize("session id or name", op.Name, maxSessionName)
}

// parseUnblock reads CLIENT UNBLOCK id [TIMEOUT|ERROR].
func parseUnblock(args [][]byte, op *fsm.Op) problem {
	op.Code = fsm.OpUnblock
	switch {
	case len(args) > 4:
		return syntaxError
	case len(args) == 4 && isWord(args[3], "ERROR"):
		op.Flags |= fsm.FlagError
	case len(args) == 4 && !isWord(args[3], "TIMEOUT"):
		return "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"
	}
	id, ok := parseInt(args[2])
	if !ok {
		return notAnInteger
	}
	// No connection has an id of 0 or less; 0 asks the machine for nobody.
	op.Target = uint64(max(id, 0))
	return noProblem
}
