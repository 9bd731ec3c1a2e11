package fsm_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redlockd/redlockd/fsm"
)

// The words of an op line, as a client would type them. KILLCONN, UNBLOCK and
// DESCRIBE stand for CLIENT KILL, CLIENT UNBLOCK and CLIENT SETNAME; BYNAME is
// FlagByName.
var opWords = map[string]fsm.OpCode{
	"LOCK": fsm.OpLock, "TRYLOCK": fsm.OpTryLock, "UNLOCK": fsm.OpUnlock, "FORCEUNLOCK": fsm.OpForceUnlock, "RENEW": fsm.OpRenew,
	"UNWAIT": fsm.OpUnwait, "LOCKCOUNT": fsm.OpLockCount, "FENCE": fsm.OpFence, "ISLOCKED": fsm.OpIsLocked, "ISOWNER": fsm.OpIsOwner,
	"LEASETIME": fsm.OpLeaseTime, "LOCKINFO": fsm.OpLockInfo, "LOCKWAITERS": fsm.OpLockWaiters, "LOCKSCAN": fsm.OpLockScan,
	"DESTROY": fsm.OpDestroy, "UNDESTROY": fsm.OpUndestroy, "RESET": fsm.OpReset, "UNBLOCK": fsm.OpUnblock, "KILLCONN": fsm.OpKillConn,
	"DESCRIBE": fsm.OpDescribe, "SESSION ID": fsm.OpSessionID, "SESSION ATTACH": fsm.OpSessionAttach, "SESSION DETACH": fsm.OpSessionDetach,
	"SESSION CLOSE": fsm.OpSessionClose, "SESSION INFO": fsm.OpSessionInfo, "SESSION LIST": fsm.OpSessionList,
	"SESSION KILL": fsm.OpSessionKill, "CONFIG SET": fsm.OpConfigSet, "END": fsm.OpEnd, "OPEN": fsm.OpOpen,
}

var opNames = func() map[fsm.OpCode]string {
	names := map[fsm.OpCode]string{}
	for w, c := range opWords {
		names[c] = w
	}
	return names
}()

var flagWords = map[string]fsm.Flags{
	"KEEP": fsm.FlagKeep, "ASYNC": fsm.FlagAsync, "HEARTBEAT": fsm.FlagHeartbeat, "BYNAME": fsm.FlagByName,
	"WAITED": fsm.FlagWaited, "DESTROYED": fsm.FlagDestroyed, "ERROR": fsm.FlagError,
}

// parseOp reads one op line. word replaces what stands for an id.
func parseOp(line string, word func(string) string) (fsm.Op, error) {
	words, err := splitWords(line)
	if err != nil {
		return fsm.Op{}, err
	}
	name := strings.ToUpper(words[0])
	if (name == "SESSION" || name == "CONFIG") && len(words) > 1 {
		name, words = name+" "+strings.ToUpper(words[1]), words[1:]
	}
	code, ok := opWords[name]
	if !ok {
		return fsm.Op{}, fmt.Errorf("unknown command in %q", line)
	}
	op := fsm.Op{Code: code}
	args := make([]string, 0, len(words))
	for _, w := range words[1:] {
		args = append(args, word(w))
	}
	if args, err = parsePositions(&op, args); err == nil {
		err = parseOptions(&op, args)
	}
	if err != nil {
		err = fmt.Errorf("%q: %w", line, err)
	}
	return op, err
}

// parsePositions reads what stands at fixed places and returns the options.
func parsePositions(op *fsm.Op, args []string) ([]string, error) {
	need := map[fsm.OpCode]int{
		fsm.OpSessionID: 0, fsm.OpSessionDetach: 0, fsm.OpSessionClose: 0, fsm.OpSessionList: 0, fsm.OpSessionInfo: 0, fsm.OpReset: 0, fsm.OpEnd: 0,
		fsm.OpRenew: 2, fsm.OpConfigSet: 2,
	}
	n, ok := need[op.Code]
	if !ok {
		n = 1
	}
	if op.Code == fsm.OpSessionInfo && len(args) > 0 {
		n = 1
	}
	if len(args) < n {
		return nil, errors.New("too few words")
	}
	if n == 0 {
		return args, nil
	}
	var err error
	switch op.Code {
	case fsm.OpSessionAttach, fsm.OpSessionInfo, fsm.OpSessionKill, fsm.OpDescribe, fsm.OpOpen:
		op.Name = []byte(args[0])
	case fsm.OpConfigSet:
		op.Name, op.Value = []byte(args[0]), []byte(args[1])
	case fsm.OpUnblock, fsm.OpKillConn:
		op.Target, err = strconv.ParseUint(args[0], 10, 64)
	case fsm.OpLockScan:
		op.Fence, err = strconv.ParseUint(args[0], 10, 64)
	case fsm.OpRenew:
		op.Key = []byte(args[0])
		op.Lease, err = strconv.ParseInt(args[1], 10, 64)
	default:
		op.Key = []byte(args[0])
	}
	return args[n:], err
}

func parseOptions(op *fsm.Op, args []string) error {
	for len(args) > 0 {
		w := strings.ToUpper(args[0])
		args = args[1:]
		if f, ok := flagWords[w]; ok {
			op.Flags |= f
			continue
		}
		if w == "TIMEOUT" && op.Code == fsm.OpUnblock {
			continue
		}
		if len(args) == 0 {
			return fmt.Errorf("%s needs a value", w)
		}
		v := args[0]
		args = args[1:]
		var err error
		switch w {
		case "LEASE", "TTL":
			op.Lease, err = strconv.ParseInt(v, 10, 64)
		case "TIMEOUT":
			op.Timeout, err = strconv.ParseInt(v, 10, 64)
		case "FENCE":
			op.Fence, err = strconv.ParseUint(v, 10, 64)
		case "COUNT":
			op.Count, err = strconv.ParseInt(v, 10, 64)
		case "OWNER":
			op.Owner = []byte(v)
		case "ID":
			op.ID = []byte(v)
		case "NOTE":
			op.Note = []byte(v)
		case "MATCH":
			op.Name = []byte(v)
		case "SESSION", "ADDR":
			op.Value = []byte(v)
		default:
			err = fmt.Errorf("unknown option %s", w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// splitWords splits at spaces; "two words" in quotes is one.
func splitWords(line string) ([]string, error) {
	var words []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if line[0] == '"' {
			end := strings.IndexByte(line[1:], '"')
			if end < 0 {
				return nil, fmt.Errorf("no closing quote in %q", line)
			}
			words, line = append(words, line[1:end+1]), line[end+2:]
			continue
		}
		w, rest, _ := strings.Cut(line, " ")
		words, line = append(words, w), rest
	}
	if len(words) == 0 {
		return nil, errors.New("an empty line is no op")
	}
	return words, nil
}

// opText writes an op as a line that parseOp would read.
func opText(op *fsm.Op) string {
	var b strings.Builder
	b.WriteString(opNames[op.Code])
	if op.Code == fsm.OpInvalid || opNames[op.Code] == "" {
		fmt.Fprintf(&b, "OP%d", op.Code)
	}
	put := func(word string, v []byte) {
		if len(v) > 0 {
			fmt.Fprintf(&b, "%s%s", word, v)
		}
	}
	num := func(word string, v int64) {
		if v != 0 {
			fmt.Fprintf(&b, "%s%d", word, v)
		}
	}
	put(" ", op.Key)
	num(" @", int64(op.Target))
	if op.Code == fsm.OpLockScan {
		fmt.Fprintf(&b, " %d", op.Fence)
		put(" MATCH ", op.Name)
		put(" SESSION ", op.Value)
	} else {
		put(" ", op.Name)
		put(" ", op.Value)
		num(" FENCE ", int64(op.Fence))
	}
	if op.Code == fsm.OpRenew {
		num(" ", op.Lease)
	} else {
		num(" LEASE ", op.Lease)
	}
	num(" TIMEOUT ", op.Timeout)
	num(" COUNT ", op.Count)
	put(" OWNER ", op.Owner)
	put(" ID ", op.ID)
	put(" NOTE ", op.Note)
	for _, w := range []string{"KEEP", "ASYNC", "HEARTBEAT", "BYNAME", "WAITED", "DESTROYED", "ERROR"} {
		if op.Flags&flagWords[w] != 0 {
			b.WriteString(" " + w)
		}
	}
	return b.String()
}
