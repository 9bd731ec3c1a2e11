package cluster

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redlockd/redlockd/cluster/peer"
)

// The options speak of the cluster that the data directory belongs to, or the node
// says what is wrong and what to do.
func TestDirectoryAndOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		l := c.leader()
		name := c.others(l)[0].opts.NodeID
		stop := func() {
			n := c.nodes[name]
			delete(c.nodes, name)
			n.stop(t)
		}
		refused := func(want string, change func(o *Options)) {
			t.Helper()
			n, err := c.tryStart(t.Context(), name, change)
			if err == nil {
				n.stop(t)
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		}
		fine := func(change func(o *Options)) {
			t.Helper()
			n, err := c.tryStart(t.Context(), name, change)
			if err != nil {
				t.Fatal(err)
			}
			c.nodes[name] = n
			stop()
		}
		stop()
		refused("without a port", func(o *Options) {
			if err := o.Peer.Listener.Close(); err != nil {
				t.Error(err)
			}
			o.InitialCluster, o.Peer, o.PeerAddr = nil, nil, addrOf(name)
		})
		refused("give the list that it was founded with", func(o *Options) {
			delete(o.InitialCluster, c.others(l)[0].opts.NodeID)
		})
		refused("give the list that it was founded with", func(o *Options) { o.InitialCluster["n1"] = "n1:1"; o.PeerAddr = o.InitialCluster[name] })
		fine(nil)
		fine(func(o *Options) { o.InitialCluster, o.PeerAddr = nil, addrOf(name) })
		// The list may be that of the founders still, or that of the members now.
		c.start(name)
		c.join("n4", nil)
		c.voters(4)
		stop()
		fine(nil)
		fine(func(o *Options) { o.InitialCluster["n4"] = addrOf("n4") })
	})
}

// A node that was alone does not found, or join, another cluster with what it has.
func TestAloneAndOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := emptyTrio(t, nil)
		alone := func(o *Options) { o.InitialCluster, o.Peer = nil, nil }
		fs := vfs.NewMem()
		open(t, fs, nil).stop(t)
		c.fs["n1"] = fs
		for want, change := range map[string]func(o *Options){
			"--initial-cluster lists 3": nil,
			"told to join another":      func(o *Options) { o.InitialCluster, o.Join = nil, []string{addrOf("n2")} },
			"without --join":            func(o *Options) { o.InitialCluster, o.Await = nil, true },
		} {
			n, err := c.tryStart(t.Context(), "n1", change)
			if err == nil {
				n.stop(t)
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %q", err, want)
			}
		}
		n, err := tryOpen(t, fs, alone)
		if err != nil {
			t.Fatal(err)
		}
		n.stop(t)
	})
}

// A member that calls itself by another address than the cluster has for it is
// warned of, once, and served all the same.
func TestOtherAddressIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		c := newTrio(t, func(o *Options) {
			if o.NodeID == "n1" {
				o.Logger = log.logger()
			}
		})
		n1 := c.nodes["n1"]
		for range 3 {
			if err := n1.port.check(peer.Hello{Node: "n2", Addr: "elsewhere:1", Disk: c.nodes["n2"].identity.disk}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if found := log.having("level=WARN", "another address", "member=n2", "says=elsewhere:1", "known="+addrOf("n2")); len(found) != 1 {
			t.Errorf("%d warnings", len(found))
		}
		if found := log.having("another address"); len(found) != 1 {
			t.Errorf("warned of others: %s", found)
		}
	})
}
