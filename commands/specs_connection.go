package commands

import "slices"

// The flags of what is answered here, whatever the cluster does.
const (
	local     = Loading | Stale
	handshake = NoScript | Loading | Stale | Fast | NoAuth | AllowBusy
)

// connectionSpecs are about the connection itself, CLIENT apart.
func connectionSpecs() []*Spec {
	specs := []*Spec{
		{
			Name:       "ping",
			subscriber: true,
			Arity:      -1,
			Flags:      Fast,
			Summary:    "Tells whether the node serves, and that the connection's holds are safe for now",
			Notes: []string{
				"On a connection that holds or waits, an answered PING means that its holds are safe for half a session-timeout from when it was sent; else it answers CLUSTERDOWN.",
			},
			Args:    []Arg{arg("message", ArgString).optional()},
			Replies: []Shape{simple("PONG"), bulk("the message"), array("pong and the message, on a subscribed connection with RESP2")},
			Example: "> PING\nPONG",
			run:     runPing,
		},
		{
			Name:    "echo",
			Arity:   2,
			Flags:   local | Fast,
			Summary: "Returns the message",
			Args:    []Arg{arg("message", ArgString)},
			Replies: []Shape{bulk("the message")},
			Example: "> ECHO hello\n\"hello\"",
			run:     runEcho,
		},
		{
			Name:       "quit",
			subscriber: true,
			Arity:      -1,
			Flags:      handshake,
			Summary:    "Closes the connection",
			Replies:    []Shape{simple("OK; then the connection closes")},
			Example:    "> QUIT\nOK",
			run:        runQuit,
		},
		{
			Name:       "reset",
			subscriber: true,
			Arity:      1,
			Flags:      handshake,
			Summary:    "Makes the connection like a new one",
			Notes: []string{
				"An anonymous session's holds are released and its waits withdrawn; a named session is left, and lives on for its TTL. Back to RESP2, no name, not authenticated where a password is required.",
			},
			Replies: []Shape{simple("RESET")},
			Example: "> RESET\nRESET",
			run:     runReset,
			phrase:  phraseReset,
		},
		{
			Name:    "select",
			Arity:   2,
			Flags:   local | Fast,
			Summary: "Accepts database 0, the only one",
			Args:    []Arg{arg("index", ArgInteger)},
			Replies: []Shape{simple("OK")},
			Example: "> SELECT 0\nOK",
			run:     runSelect,
		},
	}
	specs = append(specs, handshakeSpecs()...)
	for _, s := range specs {
		s.Group, s.Complexity = "connection", "O(1)"
		s.Categories = append(s.Categories, "connection")
	}
	return specs
}

func handshakeSpecs() []*Spec {
	return []*Spec{
		{
			Name:    "hello",
			Arity:   -1,
			Flags:   handshake,
			Summary: "Describes the server, and chooses RESP2 or RESP3",
			Notes: []string{
				"version is the Redis release whose handshake this one resembles; redlockd's own is in INFO.",
				"SETNAME session:NAME attaches the connection to that session.",
			},
			Args: []Arg{block("options",
				arg("protover", ArgInteger),
				valued("AUTH", block("auth", arg("username", ArgString), arg("password", ArgString))).optional(),
				opt("SETNAME", "clientname", ArgString),
			).optional()},
			Replies: []Shape{mapping("server, version, proto, id, mode, role, modules")},
			Example: "> HELLO 3 SETNAME session:billing-3\n1# \"server\" => \"redlockd\"\n2# \"version\" => \"" + RedisVersion + "\"\n ...",
			run:     runHello,
		},
		{
			Name:    "auth",
			Arity:   -2,
			Flags:   handshake,
			Summary: "Authenticates the connection",
			Notes:   []string{"The only user is default."},
			Args:    []Arg{arg("username", ArgString).optional(), arg("password", ArgString)},
			Replies: []Shape{simple("OK")},
			Example: "> AUTH secret\nOK",
			run:     runAuth,
		},
		{
			Name:    "multi",
			Arity:   -1,
			Flags:   handshake | Hidden,
			Summary: "Is refused, and closes the connection",
			run:     runMulti,
		},
	}
}

// clientSpecs is CLIENT.
func clientSpecs() []*Spec {
	subs := slices.Concat(clientSelfSpecs(), ignoredSpecs(), clientOtherSpecs())
	for _, s := range subs {
		s.Categories = append(s.Categories, "connection")
		if s.Complexity == "" {
			s.Complexity = "O(1)"
		}
	}
	return []*Spec{{
		Name:       "client",
		Arity:      -2,
		Group:      "connection",
		Categories: []string{"connection"},
		Summary:    "A container for commands about connections",
		Subs:       subs,
	}}
}

// clientSelfSpecs are about the caller's own connection.
func clientSelfSpecs() []*Spec {
	return []*Spec{
		{
			Name:    "id",
			Arity:   2,
			Flags:   NoScript | local,
			Summary: "Tells the id of the connection",
			Notes:   []string{"It is unique in the whole cluster and never given again."},
			Replies: []Shape{integer("the id")},
			Example: "> CLIENT ID\n(integer) 4294967297",
			run:     runClientID,
		},
		{
			Name:    "getname",
			Arity:   2,
			Flags:   NoScript | local,
			Summary: "Tells the name of the connection",
			Replies: []Shape{bulk("the name"), null("the connection has no name")},
			Example: "> CLIENT GETNAME\n\"session:billing-3\"",
			run:     runClientGetName,
		},
		{
			Name:    "setname",
			Arity:   3,
			Flags:   NoScript | local,
			Summary: "Gives the connection a name",
			Notes: []string{
				"A name of the form session:NAME attaches the connection to that session before its next lock or session command, which gets the error if that fails. Another name detaches it.",
				"A name has at most 256 bytes, none of them a space or a control character.",
			},
			Args:    []Arg{arg("connection-name", ArgString)},
			Replies: []Shape{simple("OK")},
			Example: "> CLIENT SETNAME session:billing-3\nOK",
			run:     runClientSetName,
		},
		{
			Name:    "setinfo",
			Arity:   4,
			Flags:   NoScript | local,
			Summary: "Tells the name or version of the client library",
			Args:    []Arg{oneOf("attr", valued("LIB-NAME", arg("libname", ArgString)), valued("LIB-VER", arg("libver", ArgString)))},
			Replies: []Shape{simple("OK")},
			Example: "> CLIENT SETINFO LIB-NAME go-redis\nOK",
			run:     runClientSetInfo,
		},
		{
			Name:    "info",
			Arity:   2,
			Flags:   NoScript | local,
			Summary: "Describes the connection",
			Tips:    []string{"nondeterministic_output"},
			Replies: []Shape{prose("one line, as of CLIENT LIST")},
			Example: "> CLIENT INFO\nid=4294967297 addr=127.0.0.1:53210 ...",
			run:     runClientInfo,
		},
	}
}

// ignoredSpecs are settings that pools send and that mean nothing here.
func ignoredSpecs() []*Spec {
	return []*Spec{
		{
			Name:    "no-evict",
			Arity:   3,
			Flags:   Admin | NoScript | local,
			Summary: "Is accepted and changes nothing",
			Args:    []Arg{oneOf("enabled", plainWord("ON"), plainWord("OFF"))},
			Replies: []Shape{simple("OK")},
			Example: "> CLIENT NO-EVICT ON\nOK",
			run:     runClientOnOff,
		},
		{
			Name:    "no-touch",
			Arity:   3,
			Flags:   NoScript | local,
			Summary: "Is accepted and changes nothing",
			Args:    []Arg{oneOf("enabled", plainWord("ON"), plainWord("OFF"))},
			Replies: []Shape{simple("OK")},
			Example: "> CLIENT NO-TOUCH ON\nOK",
			run:     runClientOnOff,
		},
	}
}

func clientTypes() Arg {
	return oneOf("client-type", plainWord("NORMAL"), plainWord("MASTER"), plainWord("REPLICA"), plainWord("PUBSUB"))
}

// clientOtherSpecs are about any connection.
func clientOtherSpecs() []*Spec {
	return []*Spec{
		{
			Name:       "list",
			Arity:      -2,
			Flags:      Admin | NoScript | local,
			Complexity: "O(N) where N is the number of connections of the node",
			Summary:    "Lists the connections of this node",
			Tips:       []string{"nondeterministic_output"},
			Args:       []Arg{valued("TYPE", clientTypes()).optional(), opt("ID", "client-id", ArgInteger).multiple()},
			Replies:    []Shape{prose("a line for each connection")},
			Example:    "> CLIENT LIST\nid=4294967297 addr=127.0.0.1:53210 ...",
			run:        runClientList,
		},
		{
			Name:       "kill",
			Arity:      -3,
			Flags:      Admin | NoScript | local,
			Complexity: "O(N) where N is the number of connections of the node",
			Summary:    "Closes connections",
			Notes:      []string{"ID reaches a connection of any node; all other filters see this node's connections."},
			Args: []Arg{oneOf("filter",
				arg("ip:port", ArgString),
				oneOf("new-format",
					valued("ID", arg("client-id", ArgInteger)), valued("TYPE", clientTypes()), valued("USER", arg("username", ArgString)),
					valued("ADDR", arg("ip:port", ArgString)), valued("LADDR", arg("ip:port", ArgString)), valued("MAXAGE", arg("seconds", ArgInteger)),
					valued("SKIPME", oneOf("skipme", plainWord("YES"), plainWord("NO"))),
				).multiple(),
			)},
			Replies: []Shape{integer("the number of connections closed"), simple("OK, in the form with an address alone")},
			Example: "> CLIENT KILL ID 4294967298\n(integer) 1",
			run:     runClientKill,
			phrase:  phraseInt,
		},
		opSpec(&Spec{
			Name:    "unblock",
			Arity:   -3,
			Flags:   Admin | NoScript | local,
			Summary: "Ends the wait of a connection of any node",
			Notes:   []string{"A LOCK is answered CANCELLED; a TRYLOCK 0, with ERROR CANCELLED."},
			Args:    []Arg{arg("client-id", ArgInteger), oneOf("unblock-type", plainWord("TIMEOUT"), plainWord("ERROR")).optional()},
			Replies: []Shape{integer("1: it was waiting; 0: it was not")},
			Example: "> CLIENT UNBLOCK 4294967298\n(integer) 1",
		}, parseUnblock),
	}
}
