package check

// lockState is a lock as a sequential server has it. Owners are numbered; 0 is nobody.
type lockState struct {
	owner     int
	count     int64
	fence     int64 // of the hold; 0: held, and nobody has been told the fence yet
	top       int64 // the highest fence that was told
	destroyed bool
	// known is when the owner had been told of its hold, by Porcupine's numbers; never: it was not told.
	known int64
}

// step is a request to a lock that was answered.
type step struct {
	op           *Op
	owner        int
	call, answer int64
	local        int   // its owner, among those of this lock
	turn         int32 // how many of its owner's requests come before it
}

// free ends the hold.
func (s lockState) free() lockState {
	s.owner, s.count, s.fence, s.known = 0, 0, 0, 0
	return s
}

// learn takes in a fence that was told, and reports whether the hold can have it.
func (s lockState) learn(fence int64) (lockState, bool) {
	if s.owner == 0 || s.fence != 0 && s.fence != fence || s.fence == 0 && fence <= s.top {
		return s, false
	}
	s.fence, s.top = fence, max(s.top, fence)
	return s, true
}

// take carries out a step, or reports that a lock in this state does not answer like that.
func (s lockState) take(st *step) (lockState, bool) {
	switch {
	case st.op.kind == Acquire:
		return s.acquire(st)
	case st.op.outcome == notHeld, st.op.outcome == lost:
		return s, s.owner != st.owner || st.op.fence != 0 && s.fence != st.op.fence
	}
	return s.answer(st)
}

func (s lockState) acquire(st *step) (lockState, bool) {
	switch st.op.outcome {
	case refused:
		return s, s.owner != 0 && s.owner != st.owner
	case destroyed:
		return s, s.destroyed
	case lost:
		return s, s.owner != st.owner
	default:
	}
	if s.destroyed || s.owner != 0 && s.owner != st.owner {
		return s, false
	}
	if s.owner == 0 {
		s.known = never
	}
	s.owner, s.known = st.owner, min(s.known, st.answer)
	s.count++
	return s.learn(st.op.value)
}

// answer carries out a request that was answered with a value.
func (s lockState) answer(st *step) (lockState, bool) {
	value, mine := st.op.value, s.owner == st.owner
	switch st.op.kind {
	case Release:
		if !mine || s.count != value+1 {
			return s, false
		}
		if st.op.fence != 0 {
			var ok bool
			if s, ok = s.learn(st.op.fence); !ok {
				return s, false
			}
		}
		if s.count--; s.count == 0 {
			s = s.free()
		}
		return s, true
	case Renew:
		if !mine {
			return s, false
		}
		return s.learn(value)
	case Count:
		return s, s.count == value
	case Owns:
		return s, mine == (value == 1)
	case Fence:
		if value == 0 {
			return s, s.owner == 0
		}
		return s.learn(value)
	case Force:
		return s.force(st.op)
	case Destroy:
		s = s.free()
		s.destroyed = true
		return s, true
	case Undestroy:
		was := s.destroyed
		s.destroyed = false
		return s, was == (value == 1)
	default:
		return s, false
	}
}

func (s lockState) force(o *Op) (lockState, bool) {
	if o.value == 0 { // free, or another one's hold
		return s, s.owner == 0 || o.fence != 0 && s.fence != o.fence
	}
	if s.owner == 0 {
		return s, false
	}
	if o.fence != 0 {
		var ok bool
		if s, ok = s.learn(o.fence); !ok {
			return s, false
		}
	}
	return s.free(), true
}
