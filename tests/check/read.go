package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Read reads a history that [Check] has kept (history.jsonl), so that it can be judged again: by a checker that was
// mended, say. What was no request is not in it: state hashes,
// orders of lines and the resources behind the locks.
func Read(in io.Reader) (*History, error) {
	h := New()
	for dec, n := json.NewDecoder(in), 1; ; n++ {
		var r record
		switch err := dec.Decode(&r); {
		case errors.Is(err, io.EOF):
			h.fill()
			return h, nil
		case err != nil:
			return nil, fmt.Errorf("history: record %d: %w", n, err)
		}
		until := duration(r.Until)
		switch r.Kind {
		case kindForgets:
			h.lives[r.Owner] = until
			continue
		case kindEnd, kindLastEnd:
			if until == 0 {
				until = Never
			}
			h.ends[r.Owner] = append(h.ends[r.Owner], &span{duration(r.From), until, r.Kind == kindLastEnd})
			continue
		}
		o, err := h.request(&r)
		if err != nil {
			return nil, fmt.Errorf("history: record %d: %w", n, err)
		}
		h.ops = append(h.ops, o)
	}
}

func duration(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// request makes a record a request again.
func (h *History) request(r *record) (*Op, error) {
	kind, how := slices.Index(kindNames, r.Kind), slices.Index(outcomeNames, r.Outcome)
	if kind < 0 || how < 0 {
		return nil, fmt.Errorf("there is no kind %q with outcome %q", r.Kind, r.Outcome)
	}
	o := &Op{
		h: h, kind: Kind(kind), outcome: outcome(how), owner: r.Owner, key: r.Key, sent: r.Sent, value: r.Value,
		fence: r.Fence, lease: duration(r.LeaseMs), kept: r.Kept, answered: never, given: never, inLine: never,
	}
	if o.waits = duration(r.WaitsMs); r.WaitsMs < 0 {
		o.waits = Never
	}
	h.place(r.Sent, duration(r.From))
	for to, moment := range map[*int64]int64{&o.answered: r.Answered, &o.given: r.Given} {
		if moment != 0 {
			*to = moment
			h.place(moment, duration(r.Until))
		}
	}
	if r.InLine != 0 {
		o.inLine = r.InLine
		h.place(r.InLine, duration(r.InLineMs))
	}
	return o, nil
}

// place notes when a moment was.
func (h *History) place(moment int64, at time.Duration) {
	if more := int(moment) + 1 - len(h.times); more > 0 {
		h.times = append(h.times, make([]time.Duration, more)...)
	}
	h.times[moment] = max(h.times[moment], at)
}

// fill gives moments that were not kept the time of the one before.
func (h *History) fill() {
	for i := 1; i < len(h.times); i++ {
		h.times[i] = max(h.times[i], h.times[i-1])
	}
}
