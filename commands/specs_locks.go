package commands

import "github.com/redlockd/redlockd/fsm"

// lockSpecs are the commands of COMMANDS.md, "Locks".
func lockSpecs() []*Spec {
	specs := append(acquireSpecs(), releaseSpecs()...)
	specs = append(specs, querySpecs()...)
	return append(specs, destroySpecs()...)
}

// locks fills in what all lock commands share.
func locks(s *Spec, parse func([][]byte, *fsm.Op) problem) *Spec {
	s.Group = "generic"
	s.Categories = append(s.Categories, "keyspace")
	if s.Complexity == "" {
		s.Complexity = "O(1)"
	}
	return opSpec(s, parse)
}

func acquireSpecs() []*Spec {
	acquired := []string{
		"Without OWNER the connection's own (anonymous) session is the owner, so a connection enters its own locks again. In a named session each such command is an owner of its own.",
		"LEASE is the end of the hold, counted from the grant; re-entry keeps the later of the two ends.",
		"ID makes a retry safe: the same owner, key, command and ID get the first answer again, or the same place in the queue.",
		"KEEP (needs LEASE, takes no OWNER): the hold belongs to no session; UNLOCK and RENEW act on it by FENCE from any connection.",
		"ASYNC (needs ID) never blocks: the same line again asks again.",
		"NOTE is shown by LOCKINFO and LOCKWAITERS.",
	}
	return []*Spec{
		locks(&Spec{
			Name:    "lock",
			Arity:   -2,
			Flags:   Write | Blocking | NoScript,
			Key:     KeyUpdate,
			Summary: "Acquires a lock, waiting in line until it is granted",
			Notes:   acquired,
			Args:    []Arg{keyArg(), leaseArg(), ownerArg(), idArg(), noteArg(), word("KEEP"), word("ASYNC")},
			Replies: []Shape{integer("the fence of the hold; with ASYNC -1 while it waits in line")},
			Example: "> LOCK orders:42 LEASE 30000\n(integer) 1",
		}, parseLock),
		locks(&Spec{
			Name:    "trylock",
			Arity:   -2,
			Flags:   Write | Blocking | NoScript,
			Key:     KeyUpdate,
			Summary: "Acquires a lock if that is possible within a time",
			Notes:   append([]string{"TIMEOUT is how long to wait; 0, the default, is not at all. The cluster decides that the time is over."}, acquired...),
			Args: []Arg{
				keyArg(), opt("TIMEOUT", "milliseconds", ArgInteger), leaseArg(), ownerArg(), idArg(), noteArg(), word("KEEP"), word("ASYNC"),
			},
			Replies: []Shape{integer("the fence of the hold, or 0: not acquired; with ASYNC -1 while it waits in line")},
			Example: "> TRYLOCK orders:42 TIMEOUT 2000 LEASE 30000\n(integer) 2",
		}, parseTryLock),
	}
}

func releaseSpecs() []*Spec {
	return []*Spec{
		locks(&Spec{
			Name:    "unlock",
			Arity:   -2,
			Flags:   Write | NoScript | Fast,
			Key:     KeyDelete,
			Summary: "Releases a lock once",
			Notes:   []string{"With FENCE the hold must have this fence."},
			Args:    []Arg{keyArg(), ownerArg(), fenceArg(), idArg()},
			Replies: []Shape{integer("how often the owner still holds it; 0: released")},
			Example: "> UNLOCK orders:42\n(integer) 0",
		}, parseUnlock),
		locks(&Spec{
			Name:       "forceunlock",
			Arity:      -2,
			Flags:      Write | NoScript | Fast,
			Categories: []string{"admin", "dangerous"},
			Key:        KeyDelete,
			Summary:    "Releases a lock whoever holds it, whatever the count",
			Notes:      []string{"The next waiter gets the lock. The owner that lost it learns so by LOCKLOST."},
			Args:       []Arg{keyArg(), fenceArg()},
			Replies:    []Shape{integer("1: it was held; 0: it was free, or has another fence")},
			Example:    "> FORCEUNLOCK orders:42 FENCE 7\n(integer) 1",
		}, parseForceUnlock),
		locks(&Spec{
			Name:    "renew",
			Arity:   -3,
			Flags:   Write | NoScript | Fast,
			Key:     KeyUpdate,
			Summary: "Sets a new end of a hold's lease, counted from now",
			Notes:   []string{"The new end counts also if it is sooner."},
			Args:    []Arg{keyArg(), arg("milliseconds", ArgInteger), ownerArg(), fenceArg()},
			Replies: []Shape{integer("the fence of the hold")},
			Example: "> RENEW orders:42 30000\n(integer) 1",
		}, parseRenew),
		locks(&Spec{
			Name:    "unwait",
			Arity:   -4,
			Flags:   Write | NoScript | Fast,
			Key:     KeyDelete,
			Summary: "Withdraws a wait, or releases its grant if that came first",
			Args:    []Arg{keyArg(), valued("ID", arg("request", ArgString)), ownerArg()},
			Replies: []Shape{integer("1: withdrawn or released; 0: nothing to do")},
			Example: "> UNWAIT orders:42 ID 4f1c\n(integer) 1",
		}, parseUnwait),
	}
}

func querySpecs() []*Spec {
	return append([]*Spec{
		locks(&Spec{
			Name:    "lockcount",
			Arity:   -2,
			Flags:   ReadOnly | Fast,
			Key:     KeyRead,
			Summary: "Tells how often a lock's owner holds it",
			Args:    []Arg{keyArg(), ownerArg()},
			Replies: []Shape{integer("the hold count, whoever holds; 0: free")},
			Example: "> LOCKCOUNT orders:42\n(integer) 2",
		}, parseLockCount),
		locks(&Spec{
			Name:    "fence",
			Arity:   2,
			Flags:   ReadOnly | Fast,
			Key:     KeyRead,
			Summary: "Tells the fence of a lock's present hold",
			Notes:   []string{"Asking first and writing then guards nothing: pass the fence on in the write."},
			Args:    []Arg{keyArg()},
			Replies: []Shape{integer("the fence; 0: free")},
			Example: "> FENCE orders:42\n(integer) 1",
		}, parseFence),
		locks(&Spec{
			Name:    "islocked",
			Arity:   -2,
			Flags:   ReadOnly | Fast,
			Key:     KeyRead,
			Summary: "Tells whether a lock is held",
			Args:    []Arg{keyArg(), ownerArg()},
			Replies: []Shape{integer("1 or 0")},
			Example: "> ISLOCKED orders:42\n(integer) 1",
		}, parseIsLocked),
		locks(&Spec{
			Name:    "isowner",
			Arity:   -2,
			Flags:   ReadOnly | Fast,
			Key:     KeyRead,
			Summary: "Tells whether the caller holds a lock",
			Args:    []Arg{keyArg(), ownerArg()},
			Replies: []Shape{integer("1 or 0")},
			Example: "> ISOWNER orders:42\n(integer) 1",
		}, parseIsOwner),
		locks(&Spec{
			Name:    "leasetime",
			Arity:   2,
			Flags:   ReadOnly | Fast,
			Key:     KeyRead,
			Summary: "Tells how long a hold's lease still lasts",
			Args:    []Arg{keyArg()},
			Replies: []Shape{integer("milliseconds; -1: not locked; 9223372036854775807: held without a lease")},
			Example: "> LEASETIME orders:42\n(integer) 29350",
		}, parseLeaseTime),
	}, listSpecs()...)
}

func listSpecs() []*Spec {
	return []*Spec{
		locks(&Spec{
			Name:    "lockinfo",
			Arity:   2,
			Flags:   ReadOnly | Fast,
			Key:     KeyRead,
			Summary: "Tells everything about a lock",
			Notes:   []string{"Always all fields; of a free lock they are 0 and empty. lease-ms is -1 where there is no lease."},
			Args:    []Arg{keyArg()},
			Replies: []Shape{mapping("key, state (free, held, destroyed), fence, holds, session, session-name, owner, connection, client-name, address, node, lease-ms, held-ms, waiters, note")},
			Example: "> LOCKINFO orders:42\n 1) \"key\"\n 2) \"orders:42\"\n 3) \"state\"\n 4) \"held\"\n ...",
			phrase:  phraseLockInfo,
		}, parseLockInfo),
		locks(&Spec{
			Name:       "lockwaiters",
			Arity:      -2,
			Flags:      ReadOnly,
			Key:        KeyRead,
			Complexity: "O(N) where N is the number of waiters shown",
			Summary:    "Lists who waits for a lock, first in line first",
			Args:       []Arg{keyArg(), opt("COUNT", "count", ArgInteger)},
			Replies:    []Shape{array("of maps: session, session-name, owner, connection, client-name, address, node, waiting-ms, timeout-ms (-1: none), note")},
			Example:    "> LOCKWAITERS orders:42 COUNT 1\n1)  1) \"session\"\n    2) (integer) 4294967298\n ...",
			phrase:     phraseLockWaiters,
		}, parseLockWaiters),
		locks(&Spec{
			Name:       "lockscan",
			Arity:      -2,
			Flags:      ReadOnly,
			Complexity: "O(N) where N is COUNT, 10 by default",
			Summary:    "Walks through the locks that are held",
			Tips:       []string{"nondeterministic_output"},
			Notes: []string{
				"As SCAN: begin with cursor 0, go on with the cursor of the reply until it is 0. Every lock held throughout is returned. A cursor is valid on every node.",
				"WAITED: those that have waiters. DESTROYED: destroyed names. SESSION: those of one session.",
			},
			Args: []Arg{
				arg("cursor", ArgInteger), opt("MATCH", "pattern", ArgPattern), opt("COUNT", "count", ArgInteger),
				opt("SESSION", "id-or-name", ArgString), word("WAITED"), word("DESTROYED"),
			},
			Replies: []Shape{array("the next cursor, and an array of keys")},
			Example: "> LOCKSCAN 0 MATCH orders:*\n1) \"0\"\n2) 1) \"orders:42\"",
			phrase:  phraseLockScan,
		}, parseLockScan),
	}
}

func destroySpecs() []*Spec {
	return []*Spec{
		locks(&Spec{
			Name:       "destroy",
			Arity:      -2,
			Flags:      Write | NoScript,
			Categories: []string{"admin", "dangerous"},
			Key:        KeyUpdate,
			Complexity: "O(N) where N is the number of waiters",
			Summary:    "Takes a lock's name out of use",
			Notes:      []string{"Holder and waiters lose the lock. LOCK and TRYLOCK of the name are refused from then on, with the note in the error."},
			Args:       []Arg{keyArg(), noteArg()},
			Replies:    []Shape{simple("OK")},
			Example:    "> DESTROY orders:42 NOTE \"moved to shop 2\"\nOK",
			phrase:     phraseOK,
		}, parseDestroy),
		locks(&Spec{
			Name:       "undestroy",
			Arity:      2,
			Flags:      Write | NoScript | Fast,
			Categories: []string{"admin", "dangerous"},
			Key:        KeyUpdate,
			Summary:    "Brings a destroyed name back into use",
			Args:       []Arg{keyArg()},
			Replies:    []Shape{integer("1: it was destroyed; 0: it was not")},
			Example:    "> UNDESTROY orders:42\n(integer) 1",
		}, parseUndestroy),
	}
}
