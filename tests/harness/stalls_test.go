package harness

import (
	"testing"
	"time"
)

func TestStalls(t *testing.T) {
	w := watchStalls()
	w.stop()
	if s := w.seen(); len(s) != 0 {
		t.Skipf("the machine stood still just now: %v", s)
	}
	now := time.Now()
	w.note(now, now.Add(stallTick))
	w.note(now, now.Add(time.Minute))
	if s := w.seen(); len(s) != 1 || s[0].For != time.Minute {
		t.Errorf("stalls %v", s)
	}
}

func TestPoll(t *testing.T) {
	looks := 0
	if Poll(20*time.Millisecond, func() bool { looks++; return false }) {
		t.Error("it held")
	}
	if looks < 2 {
		t.Errorf("%d looks", looks)
	}
	if !Poll(Patience, func() bool { looks++; return looks > 5 }) {
		t.Error("it never held")
	}
}
