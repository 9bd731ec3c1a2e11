package cluster

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/redlockd/redlockd/fsm"
	"github.com/redlockd/redlockd/store"
)

// backedUp is when the backups of the tests were taken.
var backedUp = time.Unix(1_795_300_813, 0)

// takeBackup returns a node's backup file.
func takeBackup(t *testing.T, n *testNode) []byte {
	t.Helper()
	b, err := n.Backup(t.Context(), backedUp, "0.1.0")
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(b)
	if err = errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

func restoreOptions(data []byte, fs vfs.FS) RestoreOptions {
	return RestoreOptions{
		NodeID: "n1", PeerAddr: "n1:7380", Backup: bytes.NewReader(data), Size: int64(len(data)), Rand: seeded(),
		Store: store.Options{Dir: "data", FS: fs, Logger: quiet(), OnFatal: func(err error) { panic(err) }},
	}
}

// TestBackup: it has what was acknowledged a moment ago, though the state on disk
// is written late; what was taken from it is a cluster of its own.
func TestBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, vfs.NewMem(), nil)
		c := n.h.connect()
		keep := fsm.Op{Code: fsm.OpTryLock, Key: []byte("kept"), Lease: 3_600_000, Flags: fsm.FlagKeep}
		for i := range 200 {
			if r := c.do(t, keep); r.Int != int64(2*i+1) {
				t.Fatalf("%+v", r)
			}
			data := takeBackup(t, n)
			found := false
			info, err := store.ReadBackup(bytes.NewReader(data), int64(len(data)), func(w store.Write) { found = found || string(w.Key) == "Lkept" })
			if err != nil || !found || info.Cluster != n.Status().ClusterID || info.Node != "n1" || info.Index > n.Status().Commit {
				t.Fatalf("round %d: %+v, the lock is in it: %v, %v", i, info, found, err)
			}
			if r := c.do(t, fsm.Op{Code: fsm.OpForceUnlock, Key: []byte("kept")}); r.Int != 1 {
				t.Fatalf("%+v", r)
			}
			if r := c.do(t, lock("a")); r.Code != fsm.CodeOK {
				t.Fatalf("%+v", r)
			}
			c.do(t, unlock("a"))
		}
		c.do(t, keep)
		fence := int64(401)
		data, old := takeBackup(t, n), n.Status().ClusterID
		n.stop(t)

		fs := vfs.NewMem()
		r, err := Restore(restoreOptions(data, fs))
		if err != nil {
			t.Fatal(err)
		}
		if r.Backup.Cluster != old || r.Cluster == old || r.Kept != 1 || r.Connections != 1 || r.Fence != uint64(fence)+fsm.RecoverFences {
			t.Errorf("%+v", r)
		}
		if _, err := Restore(restoreOptions(data, fs)); !errors.Is(err, store.ErrNotEmpty) {
			t.Errorf("a second time: %v", err)
		}
		n = open(t, fs, nil)
		s := n.Status()
		if s.ClusterID != r.Cluster || s.Incarnation <= fsm.RecoverIncarnations || s.Term <= r.Backup.Term || s.Applied <= r.Backup.Index {
			t.Errorf("%+v after %+v", s, r)
		}
		c = n.h.connect()
		if got := c.do(t, fsm.Op{Code: fsm.OpFence, Key: []byte("kept")}); got.Int != fence {
			t.Errorf("the kept hold has fence %+v", got)
		}
		if got := c.do(t, lock("next")); uint64(got.Int) != r.Fence+1 {
			t.Errorf("the next fence is %+v", got)
		}
	})
}

// TestRestoredTwiceRepeatsNoFence: a backup is restored, that cluster serves and is lost
// too, and the same backup is restored once more.
func TestRestoredTwiceRepeatsNoFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, vfs.NewMem(), nil)
		data := takeBackup(t, n)
		n.stop(t)
		given := int64(0)
		for i := range 3 {
			fs := vfs.NewMem()
			o := restoreOptions(data, fs)
			o.Now = backedUp.Add(time.Hour + time.Duration(i)*time.Minute)
			if _, err := Restore(o); err != nil {
				t.Fatal(err)
			}
			n = open(t, fs, nil)
			c := n.h.connect()
			for _, key := range []string{"a", "b", "c"} {
				r := c.do(t, lock(key))
				if r.Int <= given {
					t.Fatalf("restore %d gives fence %d after %d", i+1, r.Int, given)
				}
				given = r.Int
			}
			n.stop(t)
		}
	})
}

// TestRestoreRefuses: nothing is written for a file or options that do not do.
func TestRestoreRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, vfs.NewMem(), nil)
		data := takeBackup(t, n)
		fs := vfs.NewMem()
		for name, tt := range map[string]struct {
			change func(o *RestoreOptions)
			want   string
		}{
			"cut short":  {func(o *RestoreOptions) { o.Size-- }, "not a sound backup"},
			"no node id": {func(o *RestoreOptions) { o.NodeID = "" }, "node id"},
			"no chance":  {func(o *RestoreOptions) { o.Rand = strings.NewReader("x") }, "drawing an id"},
			"a snapshot": {func(o *RestoreOptions) {
				o.Backup, o.Size = bytes.NewReader([]byte("RLSNAP")), 6
			}, "it starts with"},
		} {
			o := restoreOptions(data, fs)
			tt.change(&o)
			if _, err := Restore(o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v", name, err)
			}
			if names, err := fs.List(""); err != nil || len(names) > 0 {
				t.Errorf("%s: it has written %v, %v", name, names, err)
			}
		}
	})
}

// TestBackupOfThreeNodes: each node gives one; one that is cut off does not, for
// what it knows may be old.
func TestBackupOfThreeNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTrio(t, nil)
		defer c.stopAll()
		conn := c.leader().h.connect()
		wants(t, "LOCK", conn.do(t, lock("a")), 1)
		c.same()
		for _, name := range c.names {
			found := false
			data := takeBackup(t, c.nodes[name])
			info, err := store.ReadBackup(bytes.NewReader(data), int64(len(data)), func(w store.Write) { found = found || string(w.Key) == "La" })
			if err != nil || !found || info.Node != name {
				t.Errorf("%s: %+v, the lock is in it: %v, %v", name, info, found, err)
			}
		}
		away := c.others(c.leader())[0]
		c.cut(away)
		eventually(t, "the node that is cut off gives no backup", func() bool {
			b, err := away.Backup(t.Context(), time.Now(), "")
			if err == nil {
				err = b.Close()
			}
			return errors.Is(err, ErrNoLeader)
		})
		c.heal(away)
	})
}
