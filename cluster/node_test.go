package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"github.com/redlockd/redlockd/fsm"
)

func TestLockAndUnlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, vfs.NewMem(), nil)
		c := n.h.connect()
		if r := c.do(t, lock("a")); r.Code != fsm.CodeOK || r.Int != 1 {
			t.Fatalf("LOCK answered %+v", r)
		}
		if r := c.do(t, unlock("a")); r.Code != fsm.CodeOK || r.Int != 0 {
			t.Fatalf("UNLOCK answered %+v", r)
		}
		s := n.Status()
		if s.Role != "leader" || s.Incarnation != 1 || s.LeaderID != "n1" || s.LeaderAddr != "n1:7380" || s.Voters != 1 || len(s.ClusterID) != 32 || s.Applied == 0 || s.Commit < s.Applied {
			t.Fatalf("status %+v", s)
		}
		var holds int64 = -1
		n.View(func(m *fsm.Machine) { holds = m.Stats().Holds })
		if holds != 0 {
			t.Fatalf("%d holds", holds)
		}
	})
}

// A node whose connection numbers are used up goes on under its next incarnation, once.
func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, vfs.NewMem(), nil)
		wants(t, "LOCK", n.h.connect().do(t, lock("a")), 1)
		first := n.Status().Incarnation
		why := errors.New("no numbers left")
		n.Renew(first, why)
		eventually(t, "the next incarnation", func() bool { return n.Status().Incarnation > first })
		wants(t, "LOCK", n.h.connect().do(t, lock("a")), 2)
		next := n.Status().Incarnation
		n.Renew(first, why)
		synctest.Wait()
		wants(t, "LOCK", n.h.connect().do(t, lock("b")), 3)
		if got := n.Status().Incarnation; got != next {
			t.Errorf("incarnation %d was renewed by the word of %d: %d", next, first, got)
		}
	})
}

// What a leader had to do and did not come to is not done in a later office: a node that
// was to be removed may have joined anew by then.
func TestErrandsEndWithTheOffice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, vfs.NewMem(), nil)
		n.errands.add(fsm.AppendRemove(nil, "n2"))
		if !n.errands.ready() {
			t.Fatal("the errand is not there: the test tests nothing")
		}
		n.leadership.left()
		if n.errands.ready() {
			t.Error("it waits for the next office")
		}
	})
}

// An entry that was built in an older office than the one in which Raft takes it does
// not move the time: the older clock may be ahead, and leases would end by that.
func TestEntryOfAnOlderOffice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, vfs.NewMem(), nil)
		term := n.raft.CurrentTerm()
		for _, e := range []struct {
			office uint64
			moves  bool
		}{{term - 1, false}, {term, true}} {
			now := n.applier.now.Load()
			l := raft.Log{Data: fsm.AppendEntry(nil, now+3_600_000, nil), Extensions: binary.BigEndian.AppendUint64(nil, e.office)}
			if err := n.raft.ApplyLog(l, time.Second).Error(); err != nil {
				t.Fatal(err)
			}
			if moved := n.applier.now.Load() >= now+3_600_000; moved != e.moves {
				t.Errorf("office %d, term %d: the time moved: %v", e.office, term, moved)
			}
		}
	})
}

// A restart keeps the state, and its incarnation is a higher one.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		var last fsm.Incarnation
		var clusterID string
		for i := range 4 {
			n := open(t, fs, nil)
			s := n.Status()
			if s.Incarnation <= last {
				t.Fatalf("incarnation %d after %d", s.Incarnation, last)
			}
			if clusterID != "" && s.ClusterID != clusterID {
				t.Fatal("the cluster id has changed")
			}
			last, clusterID = s.Incarnation, s.ClusterID
			c := n.h.connect()
			c.do(t, fsm.Op{Code: fsm.OpSessionAttach, Name: []byte("s"), Lease: 3_600_000})
			if r := c.do(t, fsm.Op{Code: fsm.OpLockCount, Key: []byte("a"), Owner: []byte("me")}); r.Int != int64(i) {
				t.Fatalf("start %d: count %d", i, r.Int)
			}
			if r := c.do(t, fsm.Op{Code: fsm.OpLock, Key: []byte("a"), Owner: []byte("me")}); r.Int != 1 {
				t.Fatalf("start %d: LOCK answered %+v", i, r)
			}
			n.stop(t)
		}
	})
}

// After a crash Raft replays what was not in the state on disk, once.
func TestCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewCrashableMem()
		n := open(t, fs, nil)
		c := n.h.connect()
		c.do(t, fsm.Op{Code: fsm.OpSessionAttach, Name: []byte("s"), Lease: 3_600_000})
		for range 10 {
			c.do(t, fsm.Op{Code: fsm.OpLock, Key: []byte("a"), Owner: []byte("me")})
		}
		crashed := fs.CrashClone(vfs.CrashCloneCfg{})
		n.stop(t)
		n = open(t, crashed, nil)
		c = n.h.connect()
		c.do(t, fsm.Op{Code: fsm.OpSessionAttach, Name: []byte("s")})
		if r := c.do(t, fsm.Op{Code: fsm.OpLockCount, Key: []byte("a"), Owner: []byte("me")}); r.Int != 10 {
			t.Fatalf("count %d after the crash", r.Int)
		}
	})
}

func TestOtherNodeID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		open(t, fs, nil).stop(t)
		_, err := tryOpen(t, fs, func(o *Options) { o.NodeID = "n2" })
		if err == nil || !strings.Contains(err.Error(), `belongs to node "n1", not to "n2"`) {
			t.Fatalf("error %v", err)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	if _, err := Open(Options{}); err == nil {
		t.Fatal("no error")
	}
}

// Settings given by flags are in force when Open returns; a bad one is refused.
func TestSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		n := open(t, fs, func(o *Options) {
			o.Settings = map[string]string{fsm.SettingSessionTimeout: "3000", fsm.SettingMaxWaits: "7"}
		})
		var s fsm.Settings
		var conns int64
		n.View(func(m *fsm.Machine) { s, conns = m.Settings(), m.Stats().Connections })
		if s.SessionTimeout != 3000 || s.MaxWaits != 7 || conns != 0 {
			t.Fatalf("settings %+v, %d connections", s, conns)
		}
		n.stop(t)
		_, err := tryOpen(t, fs, func(o *Options) { o.Settings = map[string]string{fsm.SettingSessionTimeout: "soon"} })
		if err == nil || !strings.Contains(err.Error(), "session-timeout=soon: ") {
			t.Fatalf("error %v", err)
		}
		n = open(t, fs, func(o *Options) { o.Settings = map[string]string{fsm.SettingSessionTimeout: "3000"} })
		if ops := n.Status().Counters.Ops; ops != 0 {
			t.Fatalf("%d ops for settings that are in force already", ops)
		}
		n.stop(t)
	})
}

// TestFenceFloorOfOldOptions: the options of a migration stay as they are, while the floor
// has risen, by CONFIG SET or a restore. It is above what they ask for: the node starts.
func TestFenceFloorOfOldOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		for _, floor := range []string{"1000", "2000", "1000"} {
			n := open(t, fs, func(o *Options) { o.Settings = map[string]string{fsm.SettingFenceFloor: floor} })
			if r := n.h.connect().do(t, lock("a")); r.Int <= 1000 {
				t.Errorf("with floor %s fence %d", floor, r.Int)
			}
			n.stop(t)
		}
	})
}

// TestFenceFloorsThatMeet: another node's higher one came first.
func TestFenceFloorsThatMeet(t *testing.T) {
	is := "0"
	n := internalOps{
		want: map[string]string{fsm.SettingFenceFloor: "1000"}, settled: make(chan struct{}),
		current: func(string) (string, bool) { return is, true },
	}
	conn := n.ops(1)[0].Conn
	is = "2000"
	n.observe(&fsm.Effects{Replies: []fsm.Reply{{Conn: conn, Seq: 2, Code: fsm.CodeErr}}}, 1)
	<-n.settled
	if err := n.err(); err != nil {
		t.Error(err)
	}
}

// Nothing is written while there is no session, and about one entry a second
// plus keepalives while there is one.
func TestIdleWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, vfs.NewMem(), nil)
		before := n.Status().LogLast
		time.Sleep(time.Hour)
		if s := n.Status(); s.LogLast != before || s.Incarnation != 1 {
			t.Fatalf("an idle hour wrote %d entries; incarnation %d", s.LogLast-before, s.Incarnation)
		}
		c := n.h.connect()
		c.do(t, lock("a"))
		before = n.Status().LogLast
		time.Sleep(time.Minute)
		s := n.Status()
		if wrote := s.LogLast - before; wrote < 55 || wrote > 90 {
			t.Fatalf("a minute with a session wrote %d entries", wrote)
		}
		if s.Counters.Keepalives < 17 || s.Counters.Keepalives > 20 {
			t.Fatalf("%d keepalives in a minute with session-timeout 10 s", s.Counters.Keepalives)
		}
		c.end()
		eventually(t, "the end of the session", func() (idle bool) {
			n.View(func(m *fsm.Machine) { _, pending := m.NextDeadline(); idle = !pending })
			return idle
		})
		time.Sleep(time.Second)
		before = n.Status().LogLast
		time.Sleep(time.Hour)
		if wrote := n.Status().LogLast - before; wrote != 0 {
			t.Fatalf("an idle hour after the session wrote %d entries", wrote)
		}
	})
}

// A wait ends when its time has come, not at the next sample of the clock.
func TestDeadlineIsProposedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, vfs.NewMem(), nil)
		a, b := n.h.connect(), n.h.connect()
		a.do(t, lock("k"))
		b.do(t, fsm.Op{Code: fsm.OpSessionID})
		began := time.Now()
		r := b.do(t, fsm.Op{Code: fsm.OpTryLock, Key: []byte("k"), Timeout: 37})
		if took := time.Since(began); r.Int != 0 || took < 37*time.Millisecond || took > 45*time.Millisecond {
			t.Fatalf("TRYLOCK TIMEOUT 37 answered %+v after %v", r, took)
		}
	})
}

// A process that was frozen for longer than session-timeout closes its
// connections before any reply, although the cluster has ended nothing.
func TestFreezeEndsBeforeAnyReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{}
		n := open(t, vfs.NewMem(), func(o *Options) { o.Storage = gatedStorage{o.Storage, g} })
		c := n.h.connect()
		c.do(t, lock("a"))
		time.Sleep(time.Second)
		if err := n.Fresh(); err != nil {
			t.Fatal(err)
		}
		g.shut()
		ch := c.send(lock("b"))
		synctest.Wait()
		n.clock.freeze(20 * time.Second) // no timer fires: the entry comes first
		if n.Fresh() == nil || n.Half() == nil {
			t.Fatal("fresh after 20 s of freeze")
		}
		g.lift()
		if r, ok := <-ch; ok {
			t.Fatalf("a reply after the freeze: %+v", r)
		}
		if inc := <-n.h.began; inc != 1 {
			t.Fatal("first incarnation", inc)
		}
		if inc := <-n.h.began; inc != 2 {
			t.Fatal("second incarnation", inc)
		}
		if err := n.Fresh(); err != nil {
			t.Fatal("a new incarnation is not fresh:", err)
		}
		events := strings.Join(n.h.events(), "\n")
		if !strings.Contains(events, "end 1: "+ErrSilent.Error()+"\nbegin 2") {
			t.Fatal(events)
		}
		var now int64
		n.View(func(m *fsm.Machine) { now = m.Now() })
		if now > 5000 {
			t.Fatalf("the freeze moved cluster time to %d ms", now)
		}
		// The first incarnation's hold ended with the second's registration.
		if r := n.h.connect().do(t, fsm.Op{Code: fsm.OpIsLocked, Key: []byte("a")}); r.Int != 0 {
			t.Fatal("the hold of a closed connection is still there")
		}
	})
}

// A log that hangs: the batch is sent again, and applied once.
func TestOverdueBatchIsAppliedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{}
		n := open(t, vfs.NewMem(), func(o *Options) { o.Storage = gatedStorage{o.Storage, g} })
		c := n.h.connect()
		c.do(t, fsm.Op{Code: fsm.OpSessionID})
		time.Sleep(10 * time.Millisecond)
		var repeated int
		n.h.mu.Lock()
		n.h.onDeliver = func(eff *fsm.Effects) {
			for _, b := range eff.Batches {
				if b.Status == fsm.BatchRepeated {
					repeated++
				}
			}
		}
		n.h.mu.Unlock()
		g.shut()
		ch := c.send(lock("a"))
		time.Sleep(4 * time.Second)
		g.lift()
		if r := reply(t, ch); r.Int != 1 {
			t.Fatalf("LOCK answered %+v", r)
		}
		time.Sleep(4 * time.Second)
		if r := c.do(t, fsm.Op{Code: fsm.OpLockCount, Key: []byte("a")}); r.Int != 1 {
			t.Fatalf("applied %d times", r.Int)
		}
		n.h.mu.Lock()
		defer n.h.mu.Unlock()
		if repeated == 0 {
			t.Fatal("the batch was never sent again: the test tests nothing")
		}
	})
}

// request-timeout: what was sent is uncertain, what is queued is taken out, with
// all that came later on the same connection; the sent batch is applied all the same.
func TestRequestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{}
		n := open(t, vfs.NewMem(), func(o *Options) {
			o.Storage = gatedStorage{o.Storage, g}
			o.Settings = map[string]string{fsm.SettingSessionTimeout: "3600000"}
		})
		a, b := n.h.connect(), n.h.connect()
		a.do(t, fsm.Op{Code: fsm.OpSessionID})
		b.do(t, fsm.Op{Code: fsm.OpSessionID})
		g.shut()
		a.send(lock("sent"))
		synctest.Wait()
		time.Sleep(time.Second)
		b.send(lock("queued"))
		time.Sleep(2 * time.Second)
		b.send(lock("later"))
		synctest.Wait()
		n.h.mu.Lock()
		if len(n.h.late)+len(n.h.down) != 0 {
			t.Fatal("too early:", n.h.log)
		}
		n.h.mu.Unlock()
		time.Sleep(4 * time.Second)
		synctest.Wait()
		n.h.mu.Lock()
		if len(n.h.late) != 2 || n.h.late[0] != (fsm.Address{Conn: a.id, Seq: 3}) && n.h.late[1] != (fsm.Address{Conn: a.id, Seq: 3}) {
			t.Errorf("uncertain: %v; %v", n.h.late, n.h.log)
		}
		n.h.mu.Unlock()
		g.lift()
		c := n.h.connect()
		if r := c.do(t, fsm.Op{Code: fsm.OpIsLocked, Key: []byte("sent")}); r.Int != 1 {
			t.Error("the sent batch was given up")
		}
	})
}

// A malformed entry and a panic end the process by way of OnFatal, and nothing
// is applied after.
func TestMalformedEntryIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, vfs.NewMem(), nil)
		before := n.Status().Applied
		n.raft.Apply([]byte{1, 2, 3}, time.Second)
		if err := <-n.fatal; !strings.Contains(err.Error(), "can not be read") {
			t.Fatal(err)
		}
		if err := n.raft.Snapshot().Error(); err == nil {
			t.Fatal("a snapshot cut the log behind an entry that was not applied")
		}
		n.h.connect().send(lock("a"))
		time.Sleep(time.Minute)
		if n.Status().Applied != before {
			t.Fatal("something was applied after the fatal error")
		}
		n.stop(t)
	})
}

func TestPanicInHostIsFatal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, vfs.NewMem(), nil)
		n.h.mu.Lock()
		n.h.onDeliver = func(*fsm.Effects) { panic("boo") }
		n.h.mu.Unlock()
		n.h.connect().send(lock("a"))
		if err := <-n.fatal; !strings.Contains(err.Error(), "panicked: boo") {
			t.Fatal(err)
		}
		n.stop(t)
	})
}

// The log is cut by its bytes, and the node still has everything afterwards.
func TestSnapshotByBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		small := func(o *Options) { o.SnapshotBytes, o.TrailingLogs = 20_000, 10 }
		n := open(t, fs, small)
		c := n.h.connect()
		c.do(t, fsm.Op{Code: fsm.OpSessionAttach, Name: []byte("s"), Lease: 3_600_000})
		for i := range 500 {
			c.do(t, lock(strings.Repeat("k", 100)+string(rune('a'+i%26))+strings.Repeat("x", i/26)))
		}
		eventually(t, "a cut log", func() bool { s := n.Status(); return s.LogFirst > 1 && s.Counters.Snapshots > 0 })
		n.stop(t)
		n = open(t, fs, small)
		var holds int64
		n.View(func(m *fsm.Machine) { holds = m.Stats().Holds })
		if holds != 500 {
			t.Fatalf("%d holds after the restart", holds)
		}
		n.stop(t)
	})
}

// The log of a node that restarts long before its log is worth a cut is cut all the same.
func TestSnapshotOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		last := uint64(0)
		for range 20 {
			n := open(t, fs, func(o *Options) { o.SnapshotEntries, o.TrailingLogs = 64, 8 })
			c := n.h.connect()
			for range 16 {
				c.do(t, lock("a"))
			}
			synctest.Wait()
			s := n.Status()
			if kept := s.LogLast - s.LogFirst; kept > 2*(64+8) {
				t.Fatalf("the log has %d entries", kept)
			}
			last = s.LogLast
			n.stop(t)
		}
		if last < 300 {
			t.Errorf("%d entries were written: too few to say anything", last)
		}
	})
}

// Close lets what is queued be applied, and takes nothing more.
func TestCloseIsGraceful(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{}
		n := open(t, vfs.NewMem(), func(o *Options) { o.Storage = gatedStorage{o.Storage, g} })
		c := n.h.connect()
		c.do(t, fsm.Op{Code: fsm.OpSessionID})
		g.shut()
		one := c.send(lock("a"))
		synctest.Wait()
		two := c.send(lock("b"))
		closed := make(chan error, 1)
		go func() { closed <- n.Close(context.Background()) }()
		synctest.Wait()
		c.send(lock("c"))
		synctest.Wait()
		g.lift()
		if r := reply(t, one); r.Int != 1 {
			t.Error(r)
		}
		if r := reply(t, two); r.Int != 2 {
			t.Error(r)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		n.h.mu.Lock()
		defer n.h.mu.Unlock()
		if len(n.h.down) != 1 || string(n.h.down[0].Key) != "c" {
			t.Errorf("taken out: %v", n.h.down)
		}
		if err := n.Fresh(); err == nil {
			t.Error("a closed node is fresh")
		}
	})
}

// Real time: from an empty directory to serving well under the 300 ms that a
// start may take; the bound here is only that no election timeout is waited for.
func TestBootDoesNotWaitForAnElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		n := open(t, vfs.NewMem(), nil)
		if took := time.Since(began); took > 50*time.Millisecond {
			t.Errorf("virtual time to serving: %v", took)
		}
		n.stop(t)
	})
}

// With the shortest session-timeout a node that does nothing but hold must still
// vouch for itself in time, each third of it: it never comes near half.
func TestShortSessionTimeoutIsVouchedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, vfs.NewMem(), func(o *Options) { o.Settings = map[string]string{fsm.SettingSessionTimeout: "1000"} })
		defer n.closeBoth(t)
		c := n.h.connect()
		c.do(t, lock("a"))
		for range 200 {
			time.Sleep(50 * time.Millisecond)
			synctest.Wait()
			if err := errors.Join(n.Fresh(), n.Half()); err != nil {
				t.Fatalf("an idle holder's node is not vouched for: %v; %v", err, n.h.events())
			}
		}
	})
}
