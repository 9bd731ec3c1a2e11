package fsm

import "fmt"

// What Recover adds. A backup is some time old: since it was taken, the cluster
// that it comes from has given fences and incarnations that it does not know,
// but never so many.
const (
	RecoverFences       = 1 << 40
	RecoverIncarnations = 1 << 10
)

// maxFence is where fences end: numbers that every client's language can hold.
const maxFence = 1 << 53

// Recovered says what Recover has ended and what it has left.
type Recovered struct {
	// Fence: all fences from now on are above it. It is the fence-floor too,
	// while that can be so high.
	Fence uint64
	// Connections and Sessions are those that ended: all connections, and all
	// anonymous sessions. Released are their holds.
	Connections, Sessions, Released int
	// Kept are the holds that stay or were handed to a waiter.
	Kept int
	// Named are the named sessions that stay.
	Named int
}

// Recover makes a state that was taken from a backup, or from a cluster that
// has lost its majority, the start of a new cluster. The fence counter rises by
// RecoverFences and further, by as much as whoever else began with this state may
// have given, and that of incarnations by RecoverIncarnations. Every
// incarnation ends, and with it all connections and anonymous sessions; named
// sessions and what is kept for nobody stay, by their TTLs and leases. The nodes
// are forgotten but for their numbers. The cluster's time stands still.
//
// It is no entry: it must come before the first one of the new cluster, and its
// outcome be written by Records. An error leaves the machine as it was.
func (m *Machine) Recover(further uint64) (Recovered, error) {
	var r Recovered
	fence := max(m.meta.fence, m.settings.FenceFloor)
	rise := RecoverFences + min(further, maxFence-RecoverFences)
	if fence > maxFence-rise {
		return r, fmt.Errorf("the last fence is %d: there is no room for %d more below %d", fence, rise, uint64(maxFence))
	}
	m.reset(m.meta.index)
	r.Connections, r.Sessions = len(m.conns), len(m.sessions)
	// Before anything ends: what is handed on gets a new fence.
	m.meta.fence = fence + rise
	m.meta.incs += RecoverIncarnations
	m.settings.FenceFloor = min(m.meta.fence, maxFenceFloor)
	m.touch(&m.settings)
	var due []*session
	for _, n := range m.liveNodes() {
		due = append(due, m.endIncarnation(n)...)
	}
	for _, s := range due {
		r.Released += len(s.holds)
	}
	m.endSessions(due, WhyNodeLost)
	for _, n := range m.nodes {
		n.disk, n.announce, n.mark, n.hash, n.diskFull = "", "", 0, 0, false
		m.touch(n)
	}
	m.flush()
	r.Fence, r.Named, r.Kept = m.meta.fence, len(m.sessions), len(m.locks)
	r.Sessions -= r.Named
	return r, nil
}
