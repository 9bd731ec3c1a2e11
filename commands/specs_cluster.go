package commands

// clusterSpecs are about the cluster's nodes, in the words of Redis Cluster.
func clusterSpecs() []*Spec {
	specs := []*Spec{{
		Name:    "cluster",
		Arity:   -2,
		Summary: "A container for commands about the nodes of the cluster",
		Subs:    append(topologySpecs(), membershipSpecs()...),
	}, {
		Name:    "readonly",
		Arity:   1,
		Flags:   local | Fast,
		Summary: "Lets this connection ask queries of a follower",
		Notes:   []string{"Queries are linearizable on every node; this matters only where followers redirect."},
		Replies: []Shape{simple("OK")},
		Example: "> READONLY\nOK",
		run:     clusterOnly(runReadOnly),
	}, {
		Name:    "readwrite",
		Arity:   1,
		Flags:   local | Fast,
		Summary: "Takes READONLY back",
		Replies: []Shape{simple("OK")},
		Example: "> READWRITE\nOK",
		run:     clusterOnly(runReadWrite),
	}, {
		Name:    "asking",
		Arity:   1,
		Flags:   local | Fast,
		Summary: "Lets the next command be served here, also where followers redirect",
		Replies: []Shape{simple("OK")},
		Example: "> ASKING\nOK",
		run:     clusterOnly(runAsking),
	}}
	for _, s := range specs {
		s.Group, s.Complexity = "cluster", "O(1)"
		if len(s.Subs) == 0 {
			s.Categories = []string{"connection"}
		}
	}
	return specs
}

// topologySpecs only look.
func topologySpecs() []*Spec {
	seen := "The leader is the master of all slots, the nodes that vote are its replicas."
	specs := []*Spec{
		{
			Name:    "slots",
			Arity:   2,
			Summary: "Tells which nodes serve which slots, as Redis Cluster does",
			Notes:   []string{seen, "CLUSTERDOWN while no leader is known."},
			Replies: []Shape{array("one array: first slot, last slot, then each node, the leader first: address, port, id, further addresses")},
			Example: "> CLUSTER SLOTS\n1) 1) (integer) 0\n   2) (integer) 16383\n   3) 1) \"10.0.0.1\"\n      2) (integer) 7379\n ...",
			run:     clusterOnly(runClusterSlots),
		},
		{
			Name:    "shards",
			Arity:   2,
			Summary: "Tells which nodes serve which slots, with their health",
			Notes:   []string{seen, "health is loading for a node that joins, failed for one that cannot be reached."},
			Replies: []Shape{array("one map: slots, nodes")},
			Example: "> CLUSTER SHARDS\n1) 1) \"slots\"\n   2) 1) (integer) 0\n      2) (integer) 16383\n ...",
			run:     clusterOnly(runClusterShards),
		},
		{
			Name:    "nodes",
			Arity:   2,
			Summary: "Describes all nodes, a line for each",
			Notes: []string{
				seen, "The epoch is Raft's term. fail? marks a node that cannot be reached, nofailover one that does not vote (yet), noaddr one whose address for clients is not known.",
			},
			Replies: []Shape{prose("lines: id, address, flags, master, when a ping was sent and a pong came, epoch, link, slots")},
			Example: "> CLUSTER NODES\n07c37df5... 10.0.0.1:7379@17379 myself,master - 0 0 7 connected 0-16383\n ...",
			run:     clusterOnly(runClusterNodes),
		},
		{
			Name:    "info",
			Arity:   2,
			Summary: "Tells whether the cluster has a leader, and how many nodes it has",
			Replies: []Shape{prose("lines of name:value")},
			Example: "> CLUSTER INFO\ncluster_state:ok\ncluster_slots_assigned:16384\n ...",
			run:     clusterOnly(runClusterInfo),
		},
		{
			Name:    "myid",
			Arity:   2,
			Summary: "Tells this node's id in CLUSTER NODES",
			Replies: []Shape{bulk("40 hexadecimal digits, the same for good")},
			Example: "> CLUSTER MYID\n\"07c37dfeb235213a872192d90877d0cd55635b91\"",
			run:     runClusterMyID,
		},
		{
			Name:       "keyslot",
			Arity:      3,
			Complexity: "O(N) where N is the length of the key",
			Summary:    "Tells the hash slot of a key",
			Args:       []Arg{arg("key", ArgString)},
			Replies:    []Shape{integer("0 to 16383")},
			Example:    "> CLUSTER KEYSLOT orders:42\n(integer) 11414",
			run:        runKeySlot,
		},
	}
	for _, s := range specs {
		s.Flags = local
		if s.Complexity == "" {
			s.Complexity = "O(N) where N is the number of nodes"
		}
	}
	return specs
}

// membershipSpecs change the cluster; they wait for the leader, and for other nodes.
func membershipSpecs() []*Spec {
	specs := []*Spec{
		{
			Name:    "meet",
			Arity:   -3,
			Summary: "Takes a node into the cluster",
			Notes: []string{
				"One argument: where its peers reach it (its peer-listen or peer-advertise). Two or three, as in Redis: its address, its port for clients, its port for peers (10000 above the other if it is left out).",
				"The node votes once it has caught up.",
			},
			Args:    []Arg{arg("address", ArgString), arg("port", ArgInteger).optional(), arg("peer-port", ArgInteger).optional()},
			Replies: []Shape{simple("OK")},
			Example: "> CLUSTER MEET 10.0.0.4:17379\nOK",
			run:     runClusterMeet,
		},
		{
			Name:    "forget",
			Arity:   3,
			Summary: "Removes a node from the cluster for good",
			Notes:   []string{"By its name (node-id), its id in CLUSTER NODES or its address. Its connections' sessions end; with its old data directory it does not come back."},
			Args:    []Arg{arg("node-id", ArgString)},
			Replies: []Shape{simple("OK")},
			Example: "> CLUSTER FORGET n4\nOK",
			run:     runClusterForget,
		},
		{
			Name:    "failover",
			Arity:   -2,
			Summary: "Hands the leadership over",
			Notes: []string{
				"To the node that is named; without a name to this one, or, on the leader, to the best of the others. Connections, holds and places in queues stay as they are.",
			},
			Args:    []Arg{arg("node-id", ArgString).optional()},
			Replies: []Shape{simple("OK")},
			Example: "> CLUSTER FAILOVER n2\nOK",
			run:     runClusterFailover,
		},
	}
	for _, s := range specs {
		s.Flags, s.Complexity = Admin|NoScript|local, "O(1), and the time that the nodes need"
	}
	return specs
}
