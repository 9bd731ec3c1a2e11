package commands

import (
	"strings"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/resp"
)

// Spec declares one command, or one subcommand of a container command. All
// that is said about a command anywhere (COMMAND, HELP, the manual, errors
// about arity, metric labels) is derived from it.
type Spec struct {
	// Name is the lower-case name; of a subcommand, the second word alone.
	Name string
	// Arity counts the arguments with the command's own words, by Redis's
	// rule: -n means n or more.
	Arity int
	// Flags are what COMMAND INFO says and what dispatch obeys.
	Flags Flag
	// Categories are ACL categories besides those that follow from Flags, without @.
	Categories []string
	// Key says what the command does to the key at argument 1.
	Key KeyUse
	// Group is a group of redis-cli's help.
	Group string
	// Since is the release that brought it; empty: the first one.
	Since string
	// Complexity is in words of big O.
	Complexity string
	// Summary is one sentence without a full stop.
	Summary string
	// Tips are the command tips of COMMAND INFO.
	Tips []string
	// Notes are further sentences for the manual.
	Notes []string
	Args  []Arg
	// Replies are the shapes of all replies but errors.
	Replies []Shape
	// Example is a short dialogue as redis-cli shows it.
	Example string
	// Subs are the subcommands of a container command.
	Subs []*Spec

	// A command that is an op has parse and phrase; any other has run.
	parse  func(args [][]byte, op *fsm.Op) problem
	phrase func(w *resp.Writer, op *fsm.Op, r *fsm.Reply)
	run    func(c *client, args [][]byte)
	// subscriber: a connection with RESP2 may send it while it is subscribed.
	subscriber bool

	// Filled in by the table.
	full   string
	upper  string
	subs   map[string]*Spec // by the upper-case word
	counts *counts
}

// FullName is how Redis names the command: lock, client|kill.
func (s *Spec) FullName() string { return s.full }

// Words is how a person types the command: LOCK, CLIENT KILL.
func (s *Spec) Words() string { return s.upper }

// Syntax is Words with the arguments behind it.
func (s *Spec) Syntax() string {
	if usage := argsUsage(s.Args, " "); usage != "" {
		return s.upper + " " + usage
	}
	return s.upper
}

// takes reports whether a command of n arguments has the right arity.
func (s *Spec) takes(n int) bool {
	if s.Arity >= 0 {
		return n == s.Arity
	}
	return n >= -s.Arity
}

// Flag is a set of properties of a command.
type Flag uint32

// The flags. All but Hidden are Redis's, named as COMMAND INFO names them.
const (
	Write Flag = 1 << iota
	ReadOnly
	Admin
	NoScript
	Blocking
	Loading
	Stale
	Fast
	NoAuth
	NoMulti
	AllowBusy
	// Hidden commands are answered and not listed: words that are refused on purpose.
	Hidden
)

var flagNames = []struct {
	flag Flag
	name string
}{
	{Write, "write"},
	{ReadOnly, "readonly"},
	{Admin, "admin"},
	{NoScript, "noscript"},
	{Blocking, "blocking"},
	{Loading, "loading"},
	{Stale, "stale"},
	{Fast, "fast"},
	{NoAuth, "no_auth"},
	{NoMulti, "no_multi"},
	{AllowBusy, "allow_busy"},
}

// names lists the flags in Redis's order.
func (f Flag) names() []string {
	var names []string
	for _, n := range flagNames {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// categories lists the ACL categories, in Redis's order.
func (s *Spec) categories() []string {
	has := map[string]bool{}
	for _, c := range s.Categories {
		has[c] = true
	}
	for _, implied := range []struct {
		flag Flag
		cats []string
	}{
		{Write, []string{"write"}},
		{ReadOnly, []string{"read"}},
		{Admin, []string{"admin", "dangerous"}},
		{Blocking, []string{"blocking"}},
		{Fast, []string{"fast"}},
	} {
		if s.Flags&implied.flag != 0 {
			for _, c := range implied.cats {
				has[c] = true
			}
		}
	}
	if !has["fast"] {
		has["slow"] = true
	}
	var cats []string
	for _, c := range []string{"keyspace", "read", "write", "admin", "fast", "slow", "blocking", "dangerous", "connection", "pubsub"} {
		if has[c] {
			cats = append(cats, c)
		}
	}
	return cats
}

// KeyUse says what a command does to its key, in the words of Redis's key specs.
type KeyUse uint8

// The uses. A command with any but KeyNone has its key at argument 1.
const (
	KeyNone KeyUse = iota
	KeyRead
	KeyUpdate
	KeyDelete
)

// flags are the flags of the key spec.
func (k KeyUse) flags() []string {
	switch k {
	case KeyRead:
		return []string{"RO", "access"}
	case KeyUpdate:
		return []string{"RW", "access", "update"}
	case KeyDelete:
		return []string{"RW", "access", "delete"}
	case KeyNone:
	}
	return nil
}

// ArgType is the type of an argument, as COMMAND DOCS names it.
type ArgType uint8

// The argument types.
const (
	ArgString ArgType = iota
	ArgInteger
	ArgKey
	ArgPattern
	ArgWord  // a word that stands for itself: pure-token
	ArgOneOf // one of Args
	ArgBlock // all of Args
)

func (t ArgType) String() string {
	return [...]string{"string", "integer", "key", "pattern", "pure-token", "oneof", "block"}[t]
}

// Arg is one node of a command's argument tree.
type Arg struct {
	// Name is for programs and, where it has no Token of its own, for people.
	Name string
	Type ArgType
	// Token is the word in front of the argument, or the argument itself (ArgWord).
	Token              string
	Optional, Multiple bool
	Args               []Arg
}

// usage renders the argument as redis-cli does.
func (a Arg) usage() string {
	var b strings.Builder
	b.WriteString(a.Token)
	if a.Token != "" && a.Type != ArgWord {
		b.WriteByte(' ')
	}
	body := ""
	switch a.Type {
	case ArgOneOf:
		body = argsUsage(a.Args, "|")
	case ArgBlock:
		body = argsUsage(a.Args, " ")
	case ArgWord:
	case ArgString, ArgInteger, ArgKey, ArgPattern:
		body = a.Name
	}
	b.WriteString(body)
	if a.Multiple {
		if body == "" {
			body = a.Token
		}
		b.WriteString(" [" + body + " ...]")
	}
	if a.Optional {
		return "[" + b.String() + "]"
	}
	return b.String()
}

func argsUsage(args []Arg, separator string) string {
	parts := make([]string, len(args))
	for i, a := range args {
		parts[i] = a.usage()
	}
	return strings.Join(parts, separator)
}

// ReplyKind is the type of a reply on the wire.
type ReplyKind uint8

// The kinds of replies.
const (
	ReplyInteger ReplyKind = iota
	ReplySimple
	ReplyBulk
	ReplyNull
	ReplyArray
	ReplyMap  // RESP2: a flat array
	ReplyText // RESP3: verbatim; RESP2: bulk
	ReplyPush // RESP2: array
	ReplyNone // the connection closes
)

func (k ReplyKind) String() string {
	return [...]string{"integer", "simple string", "bulk string", "null", "array", "map (RESP2: flat array)", "text", "push (RESP2: array)", "none"}[k]
}

// Shape is one reply that a command may give, and what it means.
type Shape struct {
	Kind  ReplyKind
	Means string
}
