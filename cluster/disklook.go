package cluster

import "sync/atomic"

// diskLook tells whether the disk is nearly full without waiting for the disk: a file
// system that hangs must not keep the agent from closing the connections of a node
// that nobody vouches for any more.
type diskLook struct {
	look func() bool // asks the disk
	news func()      // the answer is another one than before

	busy, full atomic.Bool
}

// ask returns the newest answer that there is, and looks again.
func (d *diskLook) ask() bool {
	if d.busy.CompareAndSwap(false, true) {
		go d.refresh()
	}
	return d.full.Load()
}

func (d *diskLook) refresh() {
	full := d.look()
	changed := d.full.Swap(full) != full
	d.busy.Store(false)
	if changed {
		d.news()
	}
}
