package check

// resource is what locks are for: something outside of redlockd that accepts only rising fences.
type resource struct {
	top    int64  // the highest fence that it has seen
	owner  string // who showed it
	value  int64  // a counter that each visit reads first and writes last
	writes int64  // visits that ended with an accepted write
	turned []turned
}

// turned is a visitor that was turned away, for its fence was too low.
type turned struct {
	key, owner string
	fence      int64
	at         int64
}

// Visit is one stay at the resource, from its first read to its last write.
type Visit struct {
	h     *History
	key   string
	owner string
	fence int64
	read  int64
}

// Enter shows a fence to the resource that a key guards and reads its counter. It is refused if a higher one was shown.
// The owner must have been told the fence.
func (h *History) Enter(owner, key string, fence int64) (*Visit, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.things[key]
	if r == nil {
		r = &resource{}
		h.things[key] = r
	}
	if !h.accept(r, key, owner, fence) {
		return nil, false
	}
	return &Visit{h, key, owner, fence, r.value}, true
}

// accept is the resource's rule. The caller holds mu.
func (h *History) accept(r *resource, key, owner string, fence int64) bool {
	if fence < r.top {
		if len(r.turned) < maxFaults {
			r.turned = append(r.turned, turned{key, owner, fence, h.moment()})
		}
		return false
	}
	if fence == r.top && owner != r.owner {
		h.fault("the resource of %s was shown fence %d by %s and by %s", key, fence, r.owner, owner)
	}
	r.top, r.owner = fence, owner
	return true
}

// Leave writes the counter that Enter read, one higher, and reports whether the resource accepted it.
func (v *Visit) Leave() bool {
	v.h.mu.Lock()
	defer v.h.mu.Unlock()
	r := v.h.things[v.key]
	if !v.h.accept(r, v.key, v.owner, v.fence) {
		return false
	}
	r.value = v.read + 1
	r.writes++
	return true
}
