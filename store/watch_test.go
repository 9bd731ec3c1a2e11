package store

import (
	"testing"
	"time"
)

// A freeze of whatever length makes one tick late: the write goes on after it.
// Only a write that was watched for all ticks has hung.
func TestFreezeIsOneTick(t *testing.T) {
	w := watch{tick: time.Hour, timer: time.AfterFunc(time.Hour, func() {})}
	defer w.stop()
	for range 3 {
		w.start()
		for i := range watchTicks - 1 {
			if w.late() {
				t.Fatalf("late at tick %d of %d", i+1, watchTicks)
			}
		}
	}
	if !w.late() {
		t.Fatal("not late after all ticks")
	}
	w.stop()
	if w.late() {
		t.Fatal("a write that has ended is late")
	}
}
