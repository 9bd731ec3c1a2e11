package cluster

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// fillableStorage is a store on a disk that can be nearly full.
type fillableStorage struct {
	Storage
	full *atomic.Bool
}

func (s fillableStorage) DiskFree() (free, total uint64, err error) {
	if s.full.Load() {
		return 1 << 20, 100 << 30, nil
	}
	return 50 << 30, 100 << 30, nil
}

// A node without connections sends no keepalives, but for what its disk has become:
// when it is full nobody may lock, and when it is not any more, all may.
func TestDiskOfAnIdleNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		c := newTrio(t, func(o *Options) {
			if o.NodeID == "n2" {
				o.Storage = fillableStorage{o.Storage, &full}
			}
		})
		conn := c.nodes["n1"].h.connect()
		wants(t, "LOCK", conn.do(t, lock("before")), 1)
		n := 0
		locks := func(code fsm.Code) func() bool {
			return func() bool {
				n++ // each time another one: to enter one's own again is always allowed
				return conn.do(t, lock(fmt.Sprint("k", n))).Code == code
			}
		}
		full.Store(true)
		eventually(t, "LIMIT", locks(fsm.CodeLimit))
		time.Sleep(time.Minute)
		if !locks(fsm.CodeLimit)() {
			t.Fatal("a lock was granted while a disk is full")
		}
		full.Store(false)
		eventually(t, "a lock", locks(fsm.CodeOK))
		before := c.nodes["n2"].Status().Counters.Keepalives
		time.Sleep(time.Minute)
		if n := c.nodes["n2"].Status().Counters.Keepalives; n != before {
			t.Errorf("an idle node has sent %d keepalives", n-before)
		}
	})
}

// A node whose disk is full dies of that sooner or later. Then its disk is nobody's
// trouble any more: the others lock, though an idle incarnation does not end by silence.
func TestFullDiskOfADeadNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := map[string]*atomic.Bool{"n1": {}, "n2": {}, "n3": {}}
		c := newTrio(t, func(o *Options) { o.Storage = fillableStorage{o.Storage, full[o.NodeID]} })
		l := c.leader()
		conn := l.h.connect()
		idle := c.others(l)[0]
		full[idle.opts.NodeID].Store(true)
		n := 0
		locks := func(code fsm.Code) func() bool {
			return func() bool {
				n++
				return conn.do(t, lock(fmt.Sprint("k", n))).Code == code
			}
		}
		eventually(t, "LIMIT", locks(fsm.CodeLimit))
		c.kill(idle)
		eventually(t, "a lock", locks(fsm.CodeOK))
	})
}
