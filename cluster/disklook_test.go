package cluster

import (
	"testing"
	"testing/synctest"
)

// TestDiskThatHangs: who asks for the disk is not held up by it, and learns later what
// it said.
func TestDiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers, news := make(chan bool), 0
		d := &diskLook{look: func() bool { return <-answers }, news: func() { news++ }}
		for range 3 {
			if d.ask() {
				t.Fatal("the disk is full before it said so")
			}
		}
		answers <- true // one look is under way, not three
		synctest.Wait()
		if news != 1 || !d.ask() {
			t.Error("what the disk said was not heard")
		}
		answers <- true
		synctest.Wait()
		if d.ask(); news != 1 {
			t.Error("the same answer is news")
		}
		answers <- false
		synctest.Wait()
		if news != 2 {
			t.Error("that there is space again was not heard")
		}
	})
}
