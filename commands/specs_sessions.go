package commands

// sessionSpecs are the commands of COMMANDS.md, "Sessions".
func sessionSpecs() []*Spec {
	return []*Spec{{
		Name:    "session",
		Arity:   -2,
		Group:   "generic",
		Summary: "A container for commands about sessions, which keep holds alive",
		Notes: []string{
			"Every connection starts with an anonymous session of its own, which ends with it. A named session is shared by all connections attached to it, and ends when none has been for its TTL.",
			"`CLIENT SETNAME session:NAME` and `HELLO 3 SETNAME session:NAME` attach a connection too.",
		},
		Subs: append(sessionSelfSpecs(), sessionOtherSpecs()...),
	}}
}

// sessionSelfSpecs are about the connection's own session.
func sessionSelfSpecs() []*Spec {
	return []*Spec{
		opSpec(&Spec{
			Name:       "id",
			Arity:      2,
			Flags:      NoScript | Fast,
			Complexity: "O(1)",
			Summary:    "Tells the id of the connection's session",
			Replies:    []Shape{integer("the id; 0: the named session has ended and no LOCK or TRYLOCK has opened it anew")},
			Example:    "> SESSION ID\n(integer) 4294967297",
		}, parseSessionID),
		opSpec(&Spec{
			Name:       "attach",
			Arity:      -3,
			Flags:      Write | NoScript | Fast,
			Complexity: "O(1)",
			Summary:    "Attaches the connection to a named session, which is created if need be",
			Notes: []string{
				"Names are 1 to 128 printable bytes without spaces. TTL is 1000 to 86400000; with HEARTBEAT at least session-timeout.",
				"With HEARTBEAT an open connection is not enough: it must speak. When nothing has come from any connection for the TTL the session ends, up to a session-timeout later.",
			},
			Args:    []Arg{arg("name", ArgString), opt("TTL", "milliseconds", ArgInteger), word("HEARTBEAT")},
			Replies: []Shape{array("the id of the session, and created or resumed")},
			Example: "> SESSION ATTACH billing-3 TTL 30000\n1) (integer) 6442450945\n2) \"created\"",
			phrase:  phraseAttached,
		}, parseSessionAttach),
		opSpec(&Spec{
			Name:       "detach",
			Arity:      2,
			Flags:      Write | NoScript | Fast,
			Complexity: "O(1)",
			Summary:    "Takes the connection back to an anonymous session",
			Replies:    []Shape{simple("OK")},
			Example:    "> SESSION DETACH\nOK",
			phrase:     phraseOK,
		}, parseSessionDetach),
		opSpec(&Spec{
			Name:       "close",
			Arity:      2,
			Flags:      Write | NoScript,
			Complexity: "O(N) where N is the number of holds and waits",
			Summary:    "Ends the connection's session now and releases what it holds",
			Replies:    []Shape{integer("the number of holds released")},
			Example:    "> SESSION CLOSE\n(integer) 3",
		}, parseSessionClose),
	}
}

// sessionOtherSpecs are about any session.
func sessionOtherSpecs() []*Spec {
	fields := "id, name, node, connections, ttl-ms, heartbeat, holds, waits, idle-ms"
	return []*Spec{
		opSpec(&Spec{
			Name:       "info",
			Arity:      -2,
			Flags:      ReadOnly,
			Complexity: "O(1)",
			Summary:    "Tells everything about a session, by default the connection's own",
			Args:       []Arg{arg("id-or-name", ArgString).optional()},
			Replies:    []Shape{mapping(fields)},
			Example:    "> SESSION INFO billing-3\n 1) \"id\"\n 2) (integer) 6442450945\n ...",
			phrase:     phraseSessionInfo,
		}, parseSessionInfo),
		opSpec(&Spec{
			Name:       "list",
			Arity:      -2,
			Flags:      ReadOnly,
			Complexity: "O(N) where N is the number of sessions",
			Summary:    "Lists the sessions of the cluster",
			Tips:       []string{"nondeterministic_output_order"},
			Args:       []Arg{opt("MATCH", "pattern", ArgPattern)},
			Replies:    []Shape{array("of maps: " + fields)},
			Example:    "> SESSION LIST MATCH billing-*\n1)  1) \"id\"\n    2) (integer) 6442450945\n ...",
			phrase:     phraseSessionList,
		}, parseSessionList),
		opSpec(&Spec{
			Name:       "kill",
			Arity:      3,
			Flags:      Write | NoScript,
			Categories: []string{"admin", "dangerous"},
			Complexity: "O(N) where N is the number of holds and waits",
			Summary:    "Ends any session and releases what it holds",
			Notes:      []string{"A killed anonymous session closes its connection."},
			Args:       []Arg{arg("id-or-name", ArgString)},
			Replies:    []Shape{integer("1: killed; 0: there is no such session")},
			Example:    "> SESSION KILL billing-3\n(integer) 1",
		}, parseSessionKill),
	}
}
