package main

import (
	"testing"
	"testing/synctest"
)

// TestSpaceOfADiskThatHangs: who asks is told what is known, and no more than one waits.
func TestSpaceOfADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks, disk := 0, make(chan struct{})
		s := &space{look: func() (uint64, uint64, error) {
			if looks++; looks == 2 {
				<-disk
			}
			return uint64(looks), 10, nil
		}}
		for i, want := range []uint64{1, 1, 1} {
			if free, total := s.ask(spacePatience); free != want || total != 10 {
				t.Errorf("answer %d: %d of %d", i, free, total)
			}
		}
		synctest.Wait()
		if looks != 2 {
			t.Errorf("%d looks, want the one that was answered and the one that hangs", looks)
		}
		close(disk)
		synctest.Wait()
		if free, _ := s.ask(spacePatience); free != 3 {
			t.Errorf("%d is free, want what the disk says now", free)
		}
	})
}
