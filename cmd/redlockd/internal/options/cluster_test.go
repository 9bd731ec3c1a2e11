package options

import (
	"net"
	"strings"
	"testing"
)

const three = "n1=127.0.0.1:17379,n2=127.0.0.1:17380,n3=127.0.0.1:17381"

func TestInitialCluster(t *testing.T) {
	c, err := load(t, []string{"--node-id=n2", "--peer-listen=127.0.0.1:17380", "--initial-cluster", three})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.InitialCluster) != 3 || c.InitialCluster[2] != (Peer{"n3", "127.0.0.1:17381"}) || !c.Clustered() || c.PeerAddr() != "127.0.0.1:17380" {
		t.Errorf("%v, clustered %v, peers reach it at %s", c.InitialCluster, c.Clustered(), c.PeerAddr())
	}
	again, err := load(t, []string{"--initial-cluster=n1=127.0.0.1:1", "--initial-cluster", "n2=127.0.0.1:2"})
	if err != nil || len(again.InitialCluster) != 2 || len(again.Warnings()) != 1 {
		t.Errorf("given twice: %v, %v", again, err)
	}
	file, err := load(t, []string{"--config", write(t, "r.toml", "initial-cluster = [\"n1=127.0.0.1:1\", \"n2=127.0.0.1:2\", \"n3=127.0.0.1:3\"]\n")})
	if err != nil || len(file.InitialCluster) != 3 || len(file.Warnings()) != 0 {
		t.Errorf("in a file: %v, %v", file, err)
	}
}

func TestClustered(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want bool
	}{
		{nil, false},
		{[]string{"--peer-listen", DefaultPeerListen}, true}, // one that may grow
		{[]string{"--join=127.0.0.1:1"}, true},
		{[]string{"--await-meet"}, true},
		{[]string{"--initial-cluster=n1=127.0.0.1:1"}, true},
		{[]string{"--announce=127.0.0.1:1", "--sentinel-listen=127.0.0.1:0"}, false},
	} {
		c, err := load(t, tt.args)
		if err != nil || c.Clustered() != tt.want {
			t.Errorf("%v: clustered %v, %v", tt.args, !tt.want, err)
		}
	}
}

func TestMistakesAboutTheCluster(t *testing.T) {
	tls := []string{"--peer-tls-cert=c", "--peer-tls-key=k", "--peer-tls-ca=a"}
	for _, tt := range []struct {
		args []string
		want string // empty: none
	}{
		{[]string{"--initial-cluster=n1"}, "write its node-id, = and host:port"},
		{[]string{"--initial-cluster=n 1=h:1"}, "is not a name"},
		{[]string{"--initial-cluster=n1=h"}, "host:port"},
		{[]string{"--initial-cluster=n1=h:0"}, "port 0"},
		{[]string{"--initial-cluster=n1=:1"}, "names no machine"},
		{[]string{"--initial-cluster=n1=127.0.0.1:1,n1=127.0.0.1:2"}, "for the second time"},
		{[]string{"--initial-cluster=n1=127.0.0.1:1,n2=127.0.0.1:1"}, "for the second time"},
		{[]string{"--initial-cluster", three, "--node-id=n4"}, `no node "n4"`},
		{[]string{"--initial-cluster", three, "--join=127.0.0.1:1"}, "give one of them"},
		{[]string{"--initial-cluster", three, "--peer-advertise=127.0.0.1:9"}, "make them the same"},
		{[]string{"--initial-cluster=n1=10.0.0.1:1,n2=10.0.0.2:1,n3=10.0.0.3:1", "--insecure-peers"}, "give --peer-listen"},
		{[]string{"--initial-cluster=n1=127.0.0.1:1,n2=10.0.0.2:1,n3=127.0.0.1:3"}, "10.0.0.2:1 is beyond this machine"},
		{[]string{"--peer-listen=:17379"}, "give --peer-advertise"},
		{[]string{"--peer-listen=:17379", "--insecure-peers"}, "give --peer-advertise"},
		{[]string{"--peer-listen=:17379", "--insecure-peers", "--peer-advertise=10.0.0.1:17379"}, ""},
		{[]string{"--peer-listen=127.0.0.1:0"}, ""},
		{append([]string{"--peer-listen=10.0.0.1:17379"}, tls...), ""},
		{[]string{"--peer-listen=10.0.0.1:17379"}, "say --insecure-peers"},
		{[]string{"--await-meet", "--initial-cluster", three}, "give one of them"},
		{append([]string{"--peer-listen=:17379", "--join=10.0.0.1:1"}, tls...), "give --peer-advertise"},
		{append([]string{"--peer-listen=:17379", "--join=10.0.0.1:1", "--peer-advertise=10.0.0.4:1"}, tls...), ""},
		{[]string{"--join=10.0.0.1:1"}, "is beyond this machine"},
		{append([]string{"--join=10.0.0.1:1"}, tls...), "give --peer-listen"},
		{append([]string{"--join=10.0.0.1:1", "--peer-advertise=10.0.0.4:1"}, tls...), ""},
		{[]string{"--join=unix:/x"}, "must be host:port"},
		{tls[:2], "give all three"},
		{[]string{"--announce=0.0.0.0:1"}, "names no machine"},
		{[]string{"--announce=[::]:1"}, "names no machine"},
		{[]string{"--announce=h:0"}, "port 0"},
		{[]string{"--follower-mode=ask"}, "proxy, redirect"},
		{[]string{"--cluster-enabled=maybe"}, "auto, yes, no"},
		{[]string{"--sentinel-listen=unix:/x"}, "must be host:port"},
		{[]string{"--sentinel-listen=:26379"}, "--protected-mode=no"},
		{[]string{"--sentinel-listen=:26379", "--requirepass=x"}, ""},
		{[]string{"--node-id=a,b"}, "commas"},
	} {
		_, err := load(t, tt.args)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%v: %v, want %q", tt.args, err, tt.want)
		}
	}
}

func TestInsecurePeersNeedsNoValue(t *testing.T) {
	for arg, want := range map[string]bool{"--insecure-peers": true, "--insecure-peers=yes": true, "--insecure-peers=no": false} {
		c, err := load(t, []string{arg})
		if err != nil || c.InsecurePeers != want {
			t.Errorf("%s: %v, %v", arg, c.InsecurePeers, err)
		}
	}
}

func TestAnnounced(t *testing.T) {
	tcp := func(s string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	unix := &net.UnixAddr{Name: "/x", Net: "unix"}
	for _, tt := range []struct {
		args            []string
		listeners       []net.Addr
		client, sentinl string
	}{
		{nil, []net.Addr{unix, tcp("127.0.0.1:7379")}, "127.0.0.1:7379", "127.0.0.1:26379"},
		{nil, []net.Addr{unix}, "", "127.0.0.1:26379"},
		{[]string{"--announce=10.0.0.1:6379"}, []net.Addr{tcp("0.0.0.0:7379")}, "10.0.0.1:6379", "10.0.0.1:26379"},
		{[]string{"--peer-advertise=10.0.0.1:1"}, []net.Addr{tcp("0.0.0.0:7379")}, "10.0.0.1:7379", "127.0.0.1:26379"},
		{[]string{"--peer-listen=10.0.0.1:1", "--insecure-peers"}, []net.Addr{tcp("[::]:7379")}, "10.0.0.1:7379", "127.0.0.1:26379"},
	} {
		c, err := load(t, tt.args)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.AnnounceAddr(tt.listeners); got != tt.client {
			t.Errorf("%v: clients are told %q, want %q", tt.args, got, tt.client)
		}
		if got := c.AnnounceSentinel(tcp("127.0.0.1:26379")); got != tt.sentinl {
			t.Errorf("%v: Sentinel clients are told %q, want %q", tt.args, got, tt.sentinl)
		}
	}
}
