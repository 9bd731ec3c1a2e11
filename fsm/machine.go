package fsm

import "github.com/redlockd/redlockd/internal/canary"

// Machine is the lock machine. It is not safe for concurrent use.
type Machine struct {
	meta     meta
	settings settings
	hash     uint64
	// markIndex and markHash are the state hash at the first entry at or after
	// the newest multiple of HashEvery.
	markIndex, markHash uint64

	nodes    map[string]*node
	live     map[Incarnation]*node
	conns    map[ConnID]*conn
	sessions map[SessionID]*session // live ones
	named    map[string]*session    // live ones, and ended ones that somebody still asks about
	locks    map[string]*lock       // held ones
	tombs    map[string]*tomb
	waits    map[uint64]*wait
	memos    map[memoKey]*memo
	notices  map[uint64]*notice
	// memoByNumber finds the memo of a hold, which may be dropped before the
	// hold ends (KEEP outlives the session that asked).
	memoByNumber map[uint64]*memo

	waitTimers    timers[*wait]
	nodeTimers    timers[*node]
	sessionTimers timers[*session]
	leaseTimers   timers[*lock]
	memoTimers    timers[*memo]
	noticeTimers  timers[*notice]

	holdOrder order[*lock]
	tombOrder order[*tomb]
	oldest    []*notice // ascending numbers; may hold gone ones

	eff       Effects
	shown     int // in this entry; see postponed
	rearmed   int // the same
	dirty     []object
	lazy      bool // records are written when Flush asks for them
	heldCount int64
	deadCount int64 // destroyed names
	arena     []byte
	pool      []*lock
	ids       int64 // remembered request IDs
	stats     Stats
}

// meta is the record that changes with every entry.
type meta struct {
	rec
	index, term uint64
	now         int64
	fence       uint64 // the last one given
	incs        uint64 // the last incarnation given
	waits       uint64 // the last wait number given
	tombs       uint64 // the last number of a destroyed name
	notices     uint64 // the last notice number
	memos       uint64 // the last memo number
}

func (o *meta) appendKey(dst []byte) []byte { return append(dst, kindMeta) }

func (o *meta) appendValue(dst []byte) []byte {
	dst = appendUints(dst, o.index, o.term, uint64(o.now))
	return appendUints(dst, o.fence, o.incs, o.waits, o.tombs, o.notices, o.memos)
}

func (o *meta) forget(*Machine) {}

// New returns an empty machine: applied index 0, default settings.
func New() *Machine {
	m := &Machine{
		nodes:    map[string]*node{},
		live:     map[Incarnation]*node{},
		conns:    map[ConnID]*conn{},
		sessions: map[SessionID]*session{},
		named:    map[string]*session{},
		locks:    map[string]*lock{},
		tombs:    map[string]*tomb{},
		waits:    map[uint64]*wait{},
		memos:    map[memoKey]*memo{},
		notices:  map[uint64]*notice{},

		memoByNumber: map[uint64]*memo{},
	}
	m.settings.Settings = DefaultSettings()
	return m
}

// Apply applies one entry. An entry at or below the applied index changes
// nothing and has no effects. The effects are valid until the next Apply.
func (m *Machine) Apply(e *Entry) *Effects {
	m.reset(e.Index)
	if e.Index <= m.meta.index {
		m.eff.Time = m.meta.now
		return &m.eff
	}
	m.eff.Timeout = m.settings.SessionTimeout
	if m.meta.term != 0 && e.Term != m.meta.term {
		m.extend(e.Time)
	}
	if m.meta.index == 0 { // defaults are state too: another version may have others
		m.touch(&m.settings)
	}
	m.meta.index, m.meta.term = e.Index, e.Term
	if canary.KeepaliveOldTime { // keepalives count from the time before this entry
		for i := range e.Keepalives {
			m.keepalive(&e.Keepalives[i])
		}
	}
	m.meta.now = max(m.meta.now, e.Time)
	m.eff.Time = m.meta.now
	for i := range e.Keepalives {
		m.keepalive(&e.Keepalives[i])
	}
	m.elapse()
	for i := range e.Items {
		switch it := &e.Items[i]; it.Kind {
		case ItemRegister:
			m.register(&it.Register)
		case ItemBatch:
			m.batch(&it.Batch)
		case ItemRemove:
			m.removeNode(it.Remove)
		case ItemInvalid:
		}
	}
	mark := m.meta.index/HashEvery > m.markIndex/HashEvery
	if !m.lazy || mark {
		m.flush()
	}
	if mark {
		m.markIndex, m.markHash = m.meta.index, m.hash
	}
	return &m.eff
}

// Defer makes Apply leave the records that it changes to Flush, or to an entry at
// which the hash is compared: what comes and goes in between is never written.
// What the entries do, and the hash, is the same.
func (m *Machine) Defer() { m.lazy = true }

// Flush adds to the newest effects all records that changed since the last flush.
func (m *Machine) Flush() *Effects {
	if !m.eff.Flushed {
		m.flush()
	}
	return &m.eff
}

// Unflushed returns how many objects changed since the last flush.
func (m *Machine) Unflushed() int { return len(m.dirty) }

// reset empties the effects, keeping their memory.
func (m *Machine) reset(index uint64) {
	m.shown, m.rearmed = 0, 0
	e := &m.eff
	clear(e.Replies)
	clear(e.Writes)
	clear(e.Sessions)
	*e = Effects{
		Index: index, Replies: e.Replies[:0], Refused: e.Refused[:0], Batches: e.Batches[:0], Registered: e.Registered[:0],
		Keepalives: e.Keepalives[:0], Ended: e.Ended[:0], Sessions: e.Sessions[:0], Diverged: e.Diverged[:0], Events: e.Events[:0], Writes: e.Writes[:0],
	}
	m.arena = m.arena[:0]
	if cap(m.arena) > 1<<22 {
		m.arena = nil
	}
}

// elapse ends what is due: waits, then nodes and sessions together, then
// leases, then memories.
func (m *Machine) elapse() {
	now := m.meta.now
	for t := m.waitTimers.due(now); t != nil; t = m.waitTimers.due(now) {
		m.waitDue(t.it)
	}
	m.sessionsDue()
	for t := m.leaseTimers.due(now); t != nil; t = m.leaseTimers.due(now) {
		m.leaseDue(t.it)
	}
	for t := m.memoTimers.due(now); t != nil; t = m.memoTimers.due(now) {
		m.memoDue(t.it)
	}
	for t := m.noticeTimers.due(now); t != nil; t = m.noticeTimers.due(now) {
		m.dropNotice(t.it)
	}
}

// NextDeadline returns the cluster time at which the machine has something to
// do by itself; ok is false where there is none.
func (m *Machine) NextDeadline() (ms int64, ok bool) {
	ms = m.waitTimers.first(-1)
	ms = m.nodeTimers.first(ms)
	ms = m.sessionTimers.first(ms)
	ms = m.leaseTimers.first(ms)
	ms = m.memoTimers.first(ms)
	ms = m.noticeTimers.first(ms)
	return ms, ms >= 0
}

// Applied returns the index and term of the newest entry applied.
func (m *Machine) Applied() (index, term uint64) { return m.meta.index, m.meta.term }

// Now returns the cluster time in ms.
func (m *Machine) Now() int64 { return m.meta.now }

// Hash returns the running hash of all records.
func (m *Machine) Hash() uint64 { return m.hash }

// HashMark returns the newest index at which the hash is to be compared, and
// the hash there; 0 before the first.
func (m *Machine) HashMark() (index, hash uint64) {
	if m.markHash == 0 {
		return 0, 0
	}
	return m.markIndex, m.markHash
}

// NewestIncarnation returns the newest incarnation of a node, 0 if it never registered.
func (m *Machine) NewestIncarnation(node string) Incarnation {
	if n := m.nodes[node]; n != nil {
		return n.inc
	}
	return 0
}

// Stats are counts for INFO. Those in the last row count since this process
// loaded the state.
type Stats struct {
	Sessions, NamedSessions, Connections, Incarnations           int64
	Holds, Waiters, Destroyed, Notices, IDs                      int64
	LastFence                                                    uint64
	Grants, Releases, Expired, Forced, Lost, Timeouts, Cancelled uint64
}

// Stats returns the counts.
func (m *Machine) Stats() Stats {
	s := m.stats
	s.Sessions, s.Connections, s.Incarnations = int64(len(m.sessions)), int64(len(m.conns)), int64(len(m.live))
	for _, x := range m.named { // counted when asked: INFO is rare
		if x.live {
			s.NamedSessions++
		}
	}
	s.Holds, s.Waiters, s.Destroyed = m.heldCount, int64(len(m.waits)), m.deadCount
	s.Notices, s.IDs, s.LastFence = int64(len(m.notices)), m.ids, m.meta.fence
	return s
}

// nextFence draws the fence of a new grant.
func (m *Machine) nextFence() uint64 {
	if canary.FenceFromIndex { // one entry can grant a key twice
		return m.meta.index
	}
	m.meta.fence = max(m.meta.fence, m.settings.FenceFloor) + 1
	return m.meta.fence
}

// bag is a set of pointers inside their owner: adding and removing take one step,
// the order means nothing. pos is kept in the member.
func bagAdd[T any](a *[]T, x T, pos *int32) {
	*pos = int32(len(*a))
	*a = append(*a, x)
}

func bagDel[T any](a *[]T, pos int32, posOf func(T) *int32) {
	last := len(*a) - 1
	moved := (*a)[last]
	(*a)[pos] = moved
	*posOf(moved) = pos
	var zero T
	(*a)[last] = zero
	*a = (*a)[:last]
}
