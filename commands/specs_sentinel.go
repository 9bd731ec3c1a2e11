package commands

import (
	"slices"
	"strings"
)

// sentinelTable are the commands of the Sentinel port: those about the
// connection, as everywhere, and what Redis Sentinel has of its own.
func sentinelTable() *Table {
	return tableOf(sentinelSpecs(), pubsubSpecs(), connectionSpecs(), lockless(clientSpecs()),
		lockless(pick(serverSpecs(), "command", "info", "role", "time")))
}

// lockless drops what goes to the lock machine, or is about keys.
func lockless(specs []*Spec) []*Spec {
	for _, s := range specs {
		s.Subs = slices.DeleteFunc(s.Subs, func(sub *Spec) bool {
			return sub.isOp() || sub.phrase != nil || strings.HasPrefix(sub.Name, "getkeys")
		})
	}
	return specs
}

func pick(specs []*Spec, names ...string) []*Spec {
	return slices.DeleteFunc(specs, func(s *Spec) bool { return !slices.Contains(names, s.Name) })
}

func masterArg() Arg { return arg("master-name", ArgString) }

func sentinelSpecs() []*Spec {
	subs := []*Spec{
		{
			Name: "get-master-addr-by-name", Arity: 3, Summary: "Tells where the leader is", Args: []Arg{masterArg()},
			Notes:   []string{"Between two leaders: where the last one was."},
			Replies: []Shape{array("address and port"), null("there is no cluster by that name, or no leader was known yet")},
			Example: "> SENTINEL GET-MASTER-ADDR-BY-NAME mymaster\n1) \"10.0.0.1\"\n2) \"7379\"",
			run:     runSentinelAddr,
		},
		{
			Name: "masters", Arity: 2, Summary: "Describes the leader, as a list of one",
			Replies: []Shape{array("of maps")}, Example: "> SENTINEL MASTERS\n1)  1) \"name\"\n    2) \"mymaster\"\n ...",
			run: runSentinelMasters,
		},
		{
			Name: "master", Arity: 3, Summary: "Describes the leader", Args: []Arg{masterArg()},
			Replies: []Shape{mapping("name, ip, port, runid, flags and more")}, Example: "> SENTINEL MASTER mymaster\n 1) \"name\"\n 2) \"mymaster\"\n ...",
			run: named(runSentinelMaster),
		},
		{
			Name: "replicas", Arity: 3, Summary: "Describes the followers", Args: []Arg{masterArg()},
			Replies: []Shape{array("of maps")}, Example: "> SENTINEL REPLICAS mymaster\n1)  1) \"name\"\n    2) \"10.0.0.2:7379\"\n ...",
			run: named(runSentinelReplicas),
		},
		{
			Name: "slaves", Arity: 3, Summary: "Describes the followers; the older name of REPLICAS", Args: []Arg{masterArg()},
			Replies: []Shape{array("of maps")}, Example: "> SENTINEL SLAVES mymaster\n1)  1) \"name\"\n    2) \"10.0.0.2:7379\"\n ...",
			run: named(runSentinelReplicas),
		},
		{
			Name: "sentinels", Arity: 3, Summary: "Describes the other nodes that answer as Sentinels", Args: []Arg{masterArg()},
			Replies: []Shape{array("of maps")}, Example: "> SENTINEL SENTINELS mymaster\n1)  1) \"name\"\n    2) \"07c37dfeb235213a872192d90877d0cd55635b91\"\n ...",
			run: named(runSentinelSentinels),
		},
		{
			Name: "ckquorum", Arity: 3, Summary: "Tells whether this node reaches a majority", Args: []Arg{masterArg()},
			Replies: []Shape{simple("OK and how many nodes it reaches")},
			Example: "> SENTINEL CKQUORUM mymaster\nOK 3 usable Sentinels. Quorum and failover authorization can be reached",
			run:     named(runSentinelQuorum),
		},
		{
			Name: "myid", Arity: 2, Summary: "Tells this node's id",
			Replies: []Shape{bulk("40 hexadecimal digits")}, Example: "> SENTINEL MYID\n\"07c37dfeb235213a872192d90877d0cd55635b91\"",
			run: runClusterMyID,
		},
	}
	for _, s := range subs {
		s.Flags, s.Complexity = NoScript|local, "O(N) where N is the number of nodes"
	}
	return []*Spec{{
		Name:    "sentinel",
		Arity:   -2,
		Group:   "sentinel",
		Summary: "A container for what Redis Sentinel is asked",
		Notes:   []string{"On the Sentinel port only (sentinel-listen)."},
		Subs:    subs,
	}}
}
