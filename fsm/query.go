package fsm

// Bounds of one page of LOCKSCAN. All nodes stand still while it is made.
const (
	scanCount    = 10
	maxScanCount = 10_000
	// A page ends early when its pattern has cost that many units, each of scanUnit
	// bytes of pattern times bytes of key: what match may take for the longest ones,
	// a few hundred times what it takes for those that people use.
	maxScanCost = 10_000
	scanUnit    = 1024
)

// query carries out the ops that change nothing.
func (m *Machine) query(c *conn, o *Op) {
	own := ownerOf(c, o)
	l := m.held(o.Key)
	switch o.Code {
	case OpLockCount, OpIsLocked, OpIsOwner:
		m.ask(c, o, own, l)
	case OpFence:
		n := int64(0)
		if l != nil {
			n = int64(l.fence)
		}
		m.reply(c, o.Seq, n)
	case OpLeaseTime:
		m.reply(c, o.Seq, m.leaseTime(l))
	case OpLockInfo:
		m.data(c, o.Seq, m.lockInfo(o.Key, l))
	case OpLockWaiters:
		m.data(c, o.Seq, m.waiters(l, o.Count))
	case OpLockScan:
		m.scan(c, o)
	default:
	}
}

// ask answers the queries of an owner, which show it that its session ended.
func (m *Machine) ask(c *conn, o *Op, own owner, l *lock) {
	mine := own.holds(l)
	if n := m.endNotice(own, o.Key); n != nil && !mine {
		a := n.answer()
		m.send(c, o.Seq, a, m.detailOf(a, l))
		return
	}
	switch {
	case o.Code == OpLockCount && l != nil:
		m.reply(c, o.Seq, l.count)
	case o.Code == OpIsLocked && l != nil, o.Code == OpIsOwner && mine:
		m.reply(c, o.Seq, 1)
	default:
		m.reply(c, o.Seq, 0)
	}
}

func (m *Machine) leaseTime(l *lock) int64 {
	switch {
	case l == nil:
		return -1
	case l.end == 0:
		return MaxLease
	default:
		return l.end - m.meta.now
	}
}

func (m *Machine) lockInfo(key []byte, l *lock) *LockInfo {
	if l == nil {
		if t := m.tombOf(key); t != nil {
			return &LockInfo{State: LockDestroyed, Note: t.note}
		}
		return &LockInfo{}
	}
	i := &LockInfo{
		State: LockHeld, Fence: l.fence, Holds: l.count, Holder: m.party(l), LeaseMS: -1,
		HeldMS: m.meta.now - l.granted, Waiters: int64(l.queued), Note: l.note,
	}
	if l.end != 0 {
		i.LeaseMS = l.end - m.meta.now
	}
	return i
}

// waiters lists the queue of a lock, at most count of it (0: all).
func (m *Machine) waiters(l *lock, count int64) []WaiterInfo {
	if l == nil {
		return []WaiterInfo{}
	}
	if count <= 0 || count > int64(l.queued) {
		count = int64(l.queued)
	}
	m.shown += int(count)
	list := make([]WaiterInfo, 0, count)
	for w := l.head; w != nil && int64(len(list)) < count; w = w.next {
		i := WaiterInfo{
			Waiter:    Party{Session: w.session.id, SessionName: w.session.name, Owner: w.label},
			WaitingMS: m.meta.now - w.since, TimeoutMS: -1, Note: w.note,
		}
		if c := w.asker(); c != nil {
			i.Waiter.Conn, i.Waiter.ClientName, i.Waiter.Addr, i.Waiter.Node = c.id, c.name, c.addr, c.node.name
		}
		if w.until != 0 {
			i.TimeoutMS = w.until - m.meta.now
		}
		list = append(list, i)
	}
	return list
}

// scan carries out LOCKSCAN. The cursor is the fence of the last hold looked at:
// a hold never changes its fence, and new ones come behind, so no hold is missed.
func (m *Machine) scan(c *conn, o *Op) {
	count := o.Count
	if count <= 0 {
		count = scanCount
	}
	count = min(count, maxScanCount)
	page := &ScanPage{Keys: []string{}}
	defer m.data(c, o.Seq, page)
	glob, cost := string(o.Name), 0
	matches := func(key string) bool {
		price := len(glob) * len(key) / scanUnit
		cost += price
		m.shown += price
		return glob == "" || match(glob, key)
	}
	if o.Flags&FlagDestroyed != 0 {
		if o.Flags&FlagWaited == 0 && len(o.Value) == 0 {
			page.Cursor = walk(&m.tombOrder, o.Fence, count, func(t *tomb) bool {
				m.shown++
				if matches(t.key) {
					page.Keys = append(page.Keys, t.key)
				}
				return cost < maxScanCost
			})
		}
		return
	}
	var of *session
	if len(o.Value) > 0 {
		if of = m.find(string(o.Value)); of == nil {
			return
		}
	}
	page.Cursor = walk(&m.holdOrder, o.Fence, count, func(l *lock) bool {
		m.shown++
		if (of == nil || l.session == of) && (o.Flags&FlagWaited == 0 || l.queued > 0) && matches(l.key) {
			page.Keys = append(page.Keys, l.key)
		}
		return cost < maxScanCost
	})
}

// walk shows up to count entries behind the cursor to see, until that has enough, and
// returns the next cursor, 0 at the end.
func walk[T any](q *order[T], cursor uint64, count int64, see func(o T) (more bool)) uint64 {
	for n, o := range q.after(cursor) {
		if count == 0 {
			return cursor
		}
		if count--; !see(o) {
			count = 0
		}
		cursor = n
	}
	return 0
}
