package check

import "maps"

func (t *tracker) request(o *Op) {
	if o.outcome == unknown && (o.kind == Acquire || o.kind == Release || o.kind == Renew) {
		t.late = append(t.late, o)
	}
	switch o.kind {
	case Acquire:
		t.acquire(o)
	case Release:
		t.release(o)
	case Renew:
		t.renew(o)
	case Count:
		t.count(o)
	case Owns:
		t.owns(o)
	default:
	}
}

// hearLate takes in that requests which were given up before a moment may be carried out now: their client has left the
// connection, but it may be heard late, behind what the same owner asked over the next one.
func (t *tracker) hearLate(sent int64) {
	for _, o := range t.late {
		if o.given >= sent {
			continue // on the same connection, which keeps their order
		}
		delete(t.idle, o)
		switch o.kind {
		case Acquire:
			t.mayHave(o)
		case Release:
			t.mayRelease(o)
		default:
			t.renew(o)
		}
	}
}

func (t *tracker) acquire(o *Op) {
	t.kept = o.kept
	switch o.outcome {
	case done:
		t.granted(o)
	case unknown, waiting:
		t.mayHave(o)
	case lost:
		t.lostAgain(o)
	case refused:
		if !t.may.free() {
			t.fault("%v: it holds it %v times and can re-enter", o, t.may)
		}
	case nothing, notHeld, destroyed:
	}
}

// mayHave takes in an acquire of which nothing is known.
func (t *tracker) mayHave(o *Op) {
	t.ghosts = true
	if !t.may.held() {
		t.asked, t.leased = o.sent, Never
	}
	more := t.may.shifted(1)
	if t.may.free() {
		if !t.doubt {
			t.doubt, t.doubted = true, o.sent
		}
		if o.lease > 0 {
			t.leased = min(t.leased, t.times[o.sent]+o.lease)
		}
		more[1], more[none] = true, true // granted, or its notice taken
	}
	maps.Copy(t.may, more)
}

// lostAgain takes in an acquire that was answered LOCKLOST: it took a notice, or was the repetition of one that was
// granted and whose hold has ended since.
func (t *tracker) lostAgain(o *Op) {
	before := t.may[noticedEnd]
	switch {
	case t.couldEnd(o):
		t.undone[o] = true
	case !before:
		t.fault("%v: it has lost nothing: its hold count can only be %v", o, t.may)
	}
	t.close(o.sent)
	t.may = states{none: true}
	if !before {
		t.may[noticed], t.may[noticedEnd] = true, true
	}
}

// couldEnd reports whether a hold that a request began may have ended before its answer.
func (t *tracker) couldEnd(o *Op) bool {
	if o.lease > 0 {
		t.leaseEnds(t.times[o.sent]+o.lease, 0)
	}
	could := o.lease > 0 && t.first(t.times[o.sent]+o.lease) <= o.answered
	for _, s := range t.shocks {
		could = could || s.answered > o.sent && s.sent < o.answered
	}
	for _, e := range t.h.ends[t.at.owner] {
		if t.first(e.from) <= o.answered && t.after(e.until) > o.sent {
			could, t.ended[e] = true, true
		}
	}
	return could
}

func (t *tracker) granted(o *Op) {
	if o.value <= 0 {
		t.fault("%v: that is no fence", o)
		return
	}
	if t.hold != nil && t.hold.fence == o.value { // re-entered
		t.may = t.may.shifted(1)
		if len(t.may) == 0 {
			t.fault("%v: its former hold with this fence has ended", o)
			t.may = states{1: true}
		}
		t.hold.last = o
		t.doubt = false
		t.lease(o)
		return
	}
	again := t.may.shifted(1) // of a hold whose fence was not answered
	if t.hold != nil && !t.doubt {
		again = nil // it has another fence: this is a new hold
	}
	switch {
	case t.may.free() && !t.may[none] && !t.may[noticed] && len(again) == 0:
		t.fault("%v: LOCKLOST was due, its session had ended", o)
	case t.hold != nil && !t.may.free() && !t.doubt:
		t.fault("%v: it holds this key with fence %d already", o, t.hold.fence)
	}
	t.begins(o, again)
}

// begins takes in a new hold, or the first answer about one that a request without answer had begun (again).
func (t *tracker) begins(o *Op, again states) {
	asked, leased := o.sent, Never
	if o.lease > 0 {
		leased = t.times[o.sent] + o.lease
	}
	if len(again) > 0 {
		// Its fence says nothing about when it was asked for: the earliest is safe for all checks.
		if t.leased != Never && t.may.free() {
			t.leaseEnds(t.leased, 0)
		}
		since := t.asked
		if t.hold != nil {
			t.close(o.sent) // this one has ended: its fence was another
			since = t.doubted
		}
		asked = min(asked, since)
		leased = min(leased, t.leased)
	} else {
		t.close(o.sent)
	}
	t.may = states{1: true}
	maps.Copy(t.may, again)
	t.asked, t.leased, t.doubt = asked, leased, false
	t.learn(o, asked)
}

// learn notes the fence of the present hold.
func (t *tracker) learn(o *Op, asked int64) {
	if other := t.holds[o.value]; other != nil {
		t.fault("%v: this fence was given to %s for %s, too", o, other.owner, other.key)
	}
	t.hold = &hold{fence: o.value, key: o.key, owner: o.owner, asked: asked, known: o.answered, promised: never, last: o}
	t.holds[o.value] = t.hold
}

// lease takes the later of two ends, and none for the latest.
func (t *tracker) lease(o *Op) {
	switch {
	case o.lease == 0:
		t.leased = Never
	case t.leased != Never:
		t.leased = max(t.leased, t.times[o.sent]+o.lease)
	}
}

func (t *tracker) release(o *Op) {
	switch o.outcome {
	case done:
	case unknown, waiting:
		t.mayRelease(o)
		return
	case notHeld, lost:
		t.toldGone(o)
		return
	case nothing, refused, destroyed:
		return
	}
	if o.value < 0 || !t.may[o.value+1] {
		t.fault("%v: the hold count before it can only be %v", o, t.may)
	}
	if o.fence != 0 && t.hold != nil && !t.doubt && o.fence != t.hold.fence {
		t.fault("%v: it named fence %d, and its hold has fence %d", o, o.fence, t.hold.fence)
	}
	t.shown(o)
	t.may = states{o.value: true}
	if o.value == 0 {
		if !t.doubt {
			t.leased = Never // it was held until now
		}
		t.close(o.sent)
		t.leased = Never
	}
}

// mayRelease takes in a release of which nothing is known.
func (t *tracker) mayRelease(o *Op) {
	if !t.ghosts && !t.may.held() {
		t.idle[o] = true
	}
	t.ghosts = true
	lower := t.may.shifted(-1)
	if lower[0] && t.hold != nil {
		t.hold.promised = min(t.hold.promised, o.sent)
	}
	if t.may[noticed] || t.may[noticedEnd] {
		lower[none] = true // the notice was taken
	}
	maps.Copy(t.may, lower)
}

// toldGone takes in NOTOWNER and LOCKLOST.
func (t *tracker) toldGone(o *Op) {
	isLost := t.may[noticed] || t.may[noticedEnd]
	if o.fence != 0 && (t.hold == nil || t.hold.fence != o.fence || t.doubt) { // of another hold, as it named one
		if o.outcome == lost && isLost {
			t.may[none] = true // the notice was taken
		}
		return
	}
	switch {
	case o.outcome == lost && !isLost:
		t.fault("%v: it has lost nothing: its hold count can only be %v", o, t.may)
	case o.outcome == notHeld && !t.may[none] && isLost && !t.kept:
		t.fault("%v: LOCKLOST was due, it had held it %v times", o, t.may)
	case o.outcome == notHeld && !t.may[none] && !isLost:
		t.fault("%v: it holds it %v times", o, t.may)
	}
	t.close(o.sent)
	t.may, t.leased = states{none: true}, Never
}

func (t *tracker) renew(o *Op) {
	switch o.outcome {
	case done:
		t.renewed(o)
	case unknown, waiting:
		if t.may.held() {
			t.leased = min(t.leased, t.times[o.sent]+o.lease)
		}
		if t.may.free() {
			t.may[none] = true
		}
	case notHeld, lost:
		t.toldGone(o)
	case nothing, refused, destroyed:
	}
}

func (t *tracker) renewed(o *Op) {
	if o.fence != 0 && o.fence != o.value {
		t.fault("%v: it named fence %d", o, o.fence)
	}
	other := t.hold != nil && t.hold.fence != o.value
	if !t.may.held() || other && !t.doubt {
		t.fault("%v: it does not hold it with that fence: its hold count can only be %v", o, t.may)
		return
	}
	if other {
		t.close(o.sent)
	}
	t.may = t.may.shifted(0)
	if t.hold == nil {
		t.learn(o, t.asked)
	}
	t.doubt = false
	t.leased = t.times[o.sent] + o.lease
	t.hold.last = o
}

// shown notes a request that shows that the present hold lives.
func (t *tracker) shown(o *Op) {
	if t.hold != nil && !t.doubt {
		t.hold.last = o
	}
}

// count takes a count that was answered. It is the holder's, whoever that is: of one that may hold nothing it says nothing.
func (t *tracker) count(o *Op) {
	if o.outcome == lost {
		t.toldEnd(o)
		return
	}
	if o.outcome != done || t.may.free() {
		return
	}
	if !t.may[o.value] {
		t.fault("%v: the hold count can only be %v", o, t.may)
	}
	t.may = states{o.value: true}
	if o.value > 0 {
		t.shown(o)
	}
}

func (t *tracker) owns(o *Op) {
	switch {
	case o.outcome == lost:
		t.toldEnd(o)
	case o.outcome != done:
	case o.value == 1:
		if !t.may.held() {
			t.fault("%v: it cannot hold it", o)
			return
		}
		t.may = t.may.shifted(0)
		t.shown(o)
	case !t.may.free():
		t.fault("%v: it holds it %v times", o, t.may)
	default:
		maps.DeleteFunc(t.may, func(n int64, _ bool) bool { return n > 0 })
		t.close(o.sent)
		t.leased = Never
	}
}

// toldEnd takes in a query that was answered LOCKLOST: the notice stays.
func (t *tracker) toldEnd(o *Op) {
	if !t.may[noticedEnd] {
		t.fault("%v: its session has not ended: its hold count can only be %v", o, t.may)
	}
	t.close(o.sent)
	t.may, t.leased = states{noticedEnd: true}, Never
}
