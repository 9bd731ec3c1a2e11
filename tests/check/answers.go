package check

import "slices"

// answers are those that each kind of request can be given, besides nothing (CLUSTERDOWN, LIMIT).
var answers = [...][]outcome{
	Acquire:   {done, refused, lost, destroyed},
	Release:   {done, notHeld, lost},
	Renew:     {done, notHeld, lost},
	Count:     {done, lost},
	Owns:      {done, lost},
	Fence:     {done},
	Force:     {done},
	Destroy:   {done},
	Undestroy: {done},
}

// most is the highest value of a kind's answer; 0: any.
var most = [...]int64{Owns: 1, Force: 1, Destroy: 1, Undestroy: 1}

// soundAnswers checks what can be said of each answer by itself.
func (c *checker) soundAnswers() {
	for _, o := range c.h.ops {
		switch {
		case o.outcome <= unknown || o.outcome == nothing:
		case !slices.Contains(answers[o.kind], o.outcome):
			c.fault("%v: there is no such answer", o)
		case o.outcome == done && (o.value < 0 || most[o.kind] > 0 && o.value > most[o.kind]):
			c.fault("%v: there is no such value", o)
		case o.outcome == refused && o.waits == Never:
			c.fault("%v: it was to wait for ever", o)
		case o.outcome == refused && c.times[o.answered]-c.times[o.sent] < o.waits:
			c.fault("%v: it was to wait for %v", o, o.waits)
		}
	}
}
