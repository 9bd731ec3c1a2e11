package fsm

// All nodes stand still while an entry is applied, and each keeps all its replies until
// the last is made. Most ops do little; those that may do much share what one entry does.
const (
	// maxShown is about how many rows the lists of one entry show together.
	maxShown = 10_000
	// perLook is how many things may be looked at for one row.
	perLook = 16
	// maxListSteps is what the pattern of SESSION LIST, which has no pages, may cost.
	maxListSteps = 50_000_000
	// maxRearmed is about how many notices and request IDs of named sessions that are
	// closed or killed get a new end in one entry.
	maxRearmed = 100_000
)

// postponed reports whether the op is one that may do much, and has to wait for another
// entry, since those of its kind have done enough in this one. The first of them never
// has to. Ends do not wait for lists: they set locks free.
func (m *Machine) postponed(o *Op) bool {
	switch o.Code {
	case OpLockWaiters, OpLockScan, OpSessionList, OpSessionInfo:
		return m.shown >= maxShown
	case OpSessionClose, OpSessionKill:
		return m.rearmed >= maxRearmed
	default:
		return false
	}
}
