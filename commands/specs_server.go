package commands

// serverSpecs are about the node, and about the commands themselves.
func serverSpecs() []*Spec {
	return append([]*Spec{
		commandSpec(),
		{
			Name:       "info",
			Arity:      -1,
			Flags:      local,
			Categories: []string{"dangerous"},
			Group:      "server",
			Complexity: "O(N) where N is the number of connections of the node",
			Summary:    "Tells how the node and the cluster do",
			Notes:      []string{"Sections: server, clients, memory, persistence, stats, replication, raft, locks, sessions, cluster; commandstats when asked for, or with all."},
			Tips:       []string{"nondeterministic_output"},
			Args:       []Arg{arg("section", ArgString).optional().multiple()},
			Replies:    []Shape{prose("lines of name:value, in sections")},
			Example:    "> INFO locks\n# Locks\nlocks_held:3\n ...",
			run:        runInfo,
		},
		configSpec(),
		backupSpec(),
	}, smallServerSpecs()...)
}

func smallServerSpecs() []*Spec {
	return []*Spec{
		{
			Name:       "role",
			Arity:      1,
			Flags:      NoScript | local | Fast,
			Categories: []string{"admin", "dangerous"},
			Group:      "server",
			Complexity: "O(1)",
			Summary:    "Tells the node's role: the leader is the master, a follower its slave",
			Notes: []string{
				"Where clients see no cluster (cluster-enabled) and followers forward, every node says master: what a client may ask of one it may ask of any. INFO raft tells the truth everywhere.",
			},
			Replies: []Shape{array("master, the applied index, an array for each replica (address, port, index); or slave, the leader's address and port, connected or connect, the applied index")},
			Example: "> ROLE\n1) \"master\"\n2) (integer) 1042\n3) (empty array)",
			run:     runRole,
		},
		{
			Name:       "time",
			Arity:      1,
			Flags:      local | Fast,
			Group:      "server",
			Complexity: "O(1)",
			Summary:    "Tells the node's wall clock, on which no lock depends",
			Tips:       []string{"nondeterministic_output"},
			Replies:    []Shape{array("seconds since 1970, and microseconds")},
			Example:    "> TIME\n1) \"1795300813\"\n2) \"221241\"",
			run:        runTime,
		},
		{
			Name:       "shutdown",
			Arity:      -1,
			Flags:      Admin | NoScript | local | NoMulti | AllowBusy,
			Group:      "server",
			Complexity: "O(1)",
			Summary:    "Stops the node as SIGTERM does",
			Notes:      []string{"Everything acknowledged is on disk, so NOSAVE, SAVE, NOW and FORCE change nothing."},
			Args: []Arg{
				oneOf("save-selector", plainWord("NOSAVE"), plainWord("SAVE")).optional(), word("NOW"), word("FORCE"), word("ABORT"),
			},
			Replies: []Shape{closes("the connection closes")},
			Example: "> SHUTDOWN\n(the connection closes)",
			run:     runShutdown,
		},
	}
}

func configSpec() *Spec {
	return &Spec{
		Name:    "config",
		Arity:   -2,
		Group:   "server",
		Summary: "A container for commands about settings",
		Subs: []*Spec{
			{
				Name:       "get",
				Arity:      -3,
				Flags:      Admin | NoScript | local,
				Complexity: "O(N) where N is the number of settings",
				Summary:    "Tells the values of settings, of the cluster's and this node's",
				Args:       []Arg{arg("parameter", ArgPattern).multiple()},
				Replies:    []Shape{mapping("of names to values")},
				Example:    "> CONFIG GET session-*\n1) \"session-timeout\"\n2) \"10000\"",
				run:        runConfigGet,
			},
			{
				Name:       "set",
				Arity:      -4,
				Flags:      Admin | NoScript | local,
				Complexity: "O(1)",
				Summary:    "Changes settings",
				Notes:      []string{"A setting of the cluster changes for all nodes at once, and is set by a CONFIG SET of its own. Settings of the node are set all or none, and until it stops."},
				Args:       []Arg{block("data", arg("parameter", ArgString), arg("value", ArgString)).multiple()},
				Replies:    []Shape{simple("OK")},
				Example:    "> CONFIG SET lock-acquire-limit \"orders:*=1 *=0\"\nOK",
				run:        runConfigSet,
				phrase:     phraseOK,
			},
		},
	}
}

func commandSpec() *Spec {
	names := func() []Arg { return []Arg{arg("command-name", ArgString).optional().multiple()} }
	line := func() []Arg {
		return []Arg{arg("command", ArgString), arg("arg", ArgString).optional().multiple()}
	}
	filter := valued("FILTERBY", oneOf("filterby",
		valued("MODULE", arg("module-name", ArgString)),
		valued("ACLCAT", arg("category", ArgString)),
		valued("PATTERN", arg("pattern", ArgPattern)),
	)).optional()
	subs := []*Spec{
		{
			Name: "count", Arity: 2, Summary: "Counts the commands", run: runCommandCount,
			Replies: []Shape{integer("how many there are, subcommands not counted")},
			Example: "> COMMAND COUNT\n(integer) 32",
		},
		{
			Name: "docs", Arity: -2, Summary: "Documents commands, by default all", run: runCommandDocs, Args: names(),
			Replies: []Shape{mapping("of names to maps; unknown names are left out")},
			Example: "> COMMAND DOCS lock\n1) \"lock\"\n2)  1) \"summary\"\n ...",
		},
		{
			Name: "getkeys", Arity: -4, Summary: "Tells the keys of a whole command", run: runCommandGetKeys, Args: line(),
			Replies: []Shape{array("of keys")},
			Example: "> COMMAND GETKEYS LOCK orders:42 LEASE 30000\n1) \"orders:42\"",
		},
		{
			Name: "getkeysandflags", Arity: -4, Summary: "Tells the keys of a whole command, and what it does to them",
			run: runCommandGetKeysAndFlags, Args: line(),
			Replies: []Shape{array("of arrays: key, flags")},
			Example: "> COMMAND GETKEYSANDFLAGS FENCE orders:42\n1) 1) \"orders:42\"\n   2) 1) RO\n      2) access",
		},
		{
			Name: "info", Arity: -2, Summary: "Describes commands for programs, by default all", run: runCommandInfo, Args: names(),
			Replies: []Shape{array("of arrays of ten; null where there is no such command")},
			Example: "> COMMAND INFO fence\n1)  1) \"fence\"\n    2) (integer) 2\n ...",
		},
		{
			Name: "list", Arity: -2, Summary: "Lists the names of commands", run: runCommandList, Args: []Arg{filter},
			Replies: []Shape{array("of names, subcommands too")},
			Example: "> COMMAND LIST FILTERBY PATTERN *lock\n1) \"lock\"\n2) \"trylock\"\n ...",
		},
	}
	for _, s := range subs {
		s.Flags, s.Categories, s.Complexity = local, []string{"connection"}, "O(N) where N is the number of commands"
	}
	return &Spec{
		Name:       "command",
		Arity:      -1,
		Flags:      local,
		Categories: []string{"connection"},
		Group:      "server",
		Complexity: "O(N) where N is the number of commands",
		Summary:    "Describes all commands for programs",
		Replies:    []Shape{array("of arrays of ten, as COMMAND INFO")},
		Example:    "> COMMAND\n1)  1) \"lock\"\n    2) (integer) -2\n ...",
		Subs:       subs,
		run:        runCommand,
	}
}
