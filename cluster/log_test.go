package cluster

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
)

// lines is a log for tests.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// having returns the lines that contain all the words.
func (l *lines) having(words ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []string
	for line := range strings.Lines(l.b.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			found = append(found, line)
		}
	}
	return found
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// What Raft repeats of a node that can not be reached is told once a minute for
// each; what it says of this node each time; nothing while it is shut down.
func TestRaftLogRepetitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l lines
		ends := false
		r := newRaftLog(l.logger(), func() bool { return ends })
		for range 100 {
			for _, id := range []string{"n2", "n3"} {
				r.With("x", 1).Error("failed to heartbeat to", "peer", id, "error", errors.New("refused"))
				r.Named("net").Error("failed to appendEntries to", "peer", raft.Server{ID: raft.ServerID(id)})
			}
			r.Error("failed to append to logs", "error", io.ErrShortWrite)
		}
		if n := len(l.having("failed to heartbeat")); n != 2 {
			t.Errorf("%d heartbeats", n)
		}
		if n := len(l.having("failed to appendEntries", "n2")); n != 1 {
			t.Errorf("%d appends", n)
		}
		if n := len(l.having("level=ERROR", "failed to append to logs", "short write")); n != 100 {
			t.Errorf("%d faults of the disk", n)
		}
		time.Sleep(muteFor)
		r.Error("failed to heartbeat to", "peer", "n2")
		if n := len(l.having("failed to heartbeat", "n2", "repeated=99")); n != 1 {
			t.Errorf("%d lines after a minute", n)
		}
		ends = true
		r.Error("failed to append to logs", "error", "while it ends")
		if n := len(l.having("while it ends")); n != 0 {
			t.Error("it complains while it ends")
		}
	})
}

// An operator sees who leads and why that changed, which sessions ended and why,
// and no errors where nothing is wrong.
func TestLogTellsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := map[string]*lines{"n1": {}, "n2": {}, "n3": {}}
		c := newTrio(t, func(o *Options) { o.Logger = logs[o.NodeID].logger() })
		want := func(in string, n int, words ...string) {
			t.Helper()
			if found := logs[in].having(words...); len(found) != n {
				t.Errorf("%s: %d lines with %q, want %d: %s", in, len(found), words, n, strings.Join(found, ""))
			}
		}
		l := c.leader()
		o := c.others(l)
		name := l.opts.NodeID
		want(name, 1, "this node leads the cluster", "term=")
		for _, x := range o {
			want(x.opts.NodeID, 1, "a node leads the cluster", "leader="+name)
		}
		conn := o[0].h.connect()
		conn.do(t, fsm.Op{Code: fsm.OpSessionAttach, Name: []byte("job"), Lease: 1000})
		o[0].h.connect().do(t, lock("a"))
		conn.end()
		time.Sleep(5 * time.Second)
		want(name, 1, "a session has ended", "session=job", "TTL has passed")
		if err := l.Failover(t.Context(), o[1].opts.NodeID); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the heir leads", func() bool { return o[1].proposer.leads.Load() })
		time.Sleep(time.Second)
		want(name, 1, "this node leads no more", "handed over")
		want(o[0].opts.NodeID, 1, "a node leads the cluster", "leader="+o[1].opts.NodeID)
		delete(c.nodes, o[0].opts.NodeID)
		o[0].stop(t)
		time.Sleep(20 * time.Second)
		want(o[1].opts.NodeID, 1, "incarnation has ended", "node="+o[0].opts.NodeID, "nothing was heard")
		want(o[1].opts.NodeID, 1, "anonymous sessions have ended", "sessions=1", "was lost")
		want(o[1].opts.NodeID, 1, "level=WARN", "a member can not be reached", "member="+o[0].opts.NodeID)
		c.stopAll()
		for id, x := range logs {
			if found := x.having("level=ERROR"); len(found) > 0 {
				t.Errorf("%s: %s", id, strings.Join(found, ""))
			}
			if found := x.having(); len(found) > 40 {
				t.Errorf("%s wrote %d lines:\n%s", id, len(found), strings.Join(found, ""))
			}
		}
	})
}

// The accessor for who leads, and its bell.
func TestLeaderIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, func(o *Options) { o.Announce = o.NodeID + ":7379" })
		l := c.leader()
		n := c.others(l)[0]
		if m, ok := n.Leader(); !ok || m.ID != l.opts.NodeID || m.Announce != l.opts.NodeID+":7379" || !m.Connected || m.Self {
			t.Fatalf("%+v, %v", m, ok)
		}
		changed := n.LeaderChanged()
		select {
		case <-changed:
			t.Fatal("nothing has changed")
		default:
		}
		c.cut(n)
		<-changed
		if m, ok := n.Leader(); ok {
			t.Fatalf("%+v leads a node that is cut off", m)
		}
		changed = n.LeaderChanged()
		c.heal(n)
		<-changed
		if _, ok := n.Leader(); !ok {
			t.Fatal("no leader")
		}
	})
}
