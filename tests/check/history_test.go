package check

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestHistory(t *testing.T) {
	h := New()
	h.Begin("a", Acquire, "k").Lease(time.Hour).Done(4)
	second := h.Begin("b", Acquire, "k")
	second.InLine()
	h.Begin("a", Release, "k").WithFence(4).Done(0)
	second.Done(5)
	h.Begin("b", Release, "k").Nothing()
	h.Begin("c", Release, "k").NotHeld()
	h.Begin("c", Acquire, "k").Refused()
	h.Begin("c", Acquire, "k").Unknown()
	h.Begin("d", Destroy, "d").Done(1)
	h.Begin("d", Acquire, "d").Destroyed()
	h.Begin("e", Acquire, "e").Done(6)
	h.End("e", h.Now(), Never)
	h.Begin("e", Release, "e").Lost()
	if all, open := h.Len(); all != 11 || open != 1 {
		t.Errorf("%d requests, %d without outcome", all, open)
	}
	for _, o := range h.ops {
		if o.String() == "" || o.sent >= o.answered {
			t.Errorf("%v", o)
		}
	}
	r := Check(h, Options{})
	if len(r.Faults) != 0 || r.Ops != 11 || r.Unknown != 1 || r.Answered != 10 || r.Grants != 3 || r.Locks != 3 {
		t.Error(r)
	}
}

// TestManyWriters is for the race detector.
func TestManyWriters(t *testing.T) {
	h := New()
	var all sync.WaitGroup
	for id := range 8 {
		all.Go(func() {
			owner, key := fmt.Sprintf("o%d", id), fmt.Sprintf("k%d", id)
			for i := range 200 {
				fence := int64(id + 8*i + 1)
				o := h.Begin(owner, Acquire, key)
				o.InLine()
				o.Done(fence)
				if v, ok := h.Enter(owner, key, fence); !ok || !v.Leave() {
					t.Errorf("%s was turned away", owner)
				}
				h.Begin(owner, Release, key).Done(0)
				h.Hash(owner, uint64(i), "same")
			}
			h.MayEnd(owner, h.Now())
		})
	}
	all.Wait()
	// The fences of different owners do not rise together here: that is all there is to complain about.
	for _, f := range Check(h, Options{}).Faults {
		if !strings.Contains(f, "is not above fence") {
			t.Error(f)
		}
	}
}

func TestEnds(t *testing.T) {
	h := New()
	h.MustEnd("a", 5) // says nothing about one that need not end
	h.MayEnd("a", 9)
	h.MayEnd("a", 7)
	h.MayEnd("a", 8)
	h.MustEnd("a", 20)
	h.MustEnd("a", 30)
	if e := h.ends["a"]; len(e) != 1 || *e[0] != (span{7, 20, true}) {
		t.Errorf("%v", *e[0])
	}
	h.End("b", 1, 2)
	h.End("b", 3, Never)
	if len(h.ends["b"]) != 2 || h.final("b") != nil {
		t.Error(h.ends["b"])
	}
}

func TestHashes(t *testing.T) {
	h := New()
	h.Hash("n1", 4096, "ab")
	h.Hash("n2", 4096, "ab")
	h.Hash("n2", 8192, "cd")
	h.Hash("n2", 4096, "ab")
	if r := Check(h, Options{}); len(r.Faults) > 0 || r.Hashes != 1 {
		t.Error(r)
	}
	h.Hash("n3", 8192, "ce")
	if r := Check(h, Options{}); len(r.Faults) != 1 || !strings.Contains(r.Faults[0], "the state of n2 has hash cd, that of n3 has ce") {
		t.Error(r)
	}
}

func TestResource(t *testing.T) {
	h := New()
	h.Begin("a", Acquire, "k").Done(1)
	slow, ok := h.Enter("a", "k", 1)
	if !ok {
		t.Fatal("refused the first")
	}
	h.MayEnd("a", h.Now())
	h.Begin("b", Acquire, "k").Done(2)
	quick, ok := h.Enter("b", "k", 2)
	if !ok || slow.Leave() || !quick.Leave() {
		t.Error("the resource does not go by fences")
	}
	if _, ok := h.Enter("a", "k", 1); ok {
		t.Error("a low fence came in")
	}
	if r := Check(h, Options{}); len(r.Faults) > 0 {
		t.Error(r)
	}

	h = New()
	h.Begin("a", Acquire, "k").Done(2)
	one, _ := h.Enter("a", "k", 2)
	two, _ := h.Enter("b", "k", 2)
	if !one.Leave() || !two.Leave() {
		t.Error("refused the same fence")
	}
	h.Begin("c", Acquire, "k").Done(1)
	if _, ok := h.Enter("c", "k", 1); ok {
		t.Error("a low fence came in")
	}
	all := Check(h, Options{}).String()
	for _, want := range []string{"was shown fence 2 by a and by b", "refused c with fence 1", "counted to 1 in 2 accepted writes: updates were lost"} {
		if !strings.Contains(all, want) {
			t.Errorf("%s: no word of %q", all, want)
		}
	}
}

func TestComplaintsAreBounded(t *testing.T) {
	s := newScript()
	for i := range 10 * maxFaults {
		s.lock("a", "k", i, i+1, 0)
	}
	if n := len(Check(s.end(), Options{}).Faults); n != maxFaults {
		t.Errorf("%d complaints", n)
	}
}

// TestGivingUp gives Porcupine no time: that it found nothing says nothing then.
func TestGivingUp(t *testing.T) {
	r := Check(simulate(1, 8, 2000, ""), Options{Timeout: time.Nanosecond})
	if len(r.Faults) == 0 || !strings.Contains(r.Faults[0], "Porcupine gave up") {
		t.Error(r)
	}
}

// TestKept checks what is left of a bad run.
func TestKept(t *testing.T) {
	s := newScript()
	s.lock("a", "orders: 1/2", 0, 1, 1).leased(1000)
	s.lock("b", "orders: 1/2", 0, 2, 2).seenAt(1)
	s.told("c", Release, "fine", 0, 5, notHeld)
	h := s.end()
	h.MayEnd("a", 900*time.Millisecond)
	h.End("b", 900*time.Millisecond, 950*time.Millisecond)
	dir := filepath.Join(t.TempDir(), "new", "folder")
	r := Check(h, Options{Dir: dir})
	if len(r.Files) != 2 || !strings.Contains(r.String(), dir) {
		t.Fatal(r)
	}
	file, err := os.Open(filepath.Join(dir, "history.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var lines []record
	for in := bufio.NewScanner(file); in.Scan(); {
		var line record
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if len(lines) != 5 || lines[1].Owner != "b" || lines[1].Value != 2 || lines[1].Kind != "acquire" || lines[1].InLine == 0 || lines[0].LeaseMs != 1000 {
		t.Errorf("%+v", lines)
	}
	html, err := os.ReadFile(filepath.Join(dir, "lock-1-orders__1_2.html"))
	if err != nil || !strings.Contains(string(html), "acquire by b (2): done 2") {
		t.Errorf("the drawing: %v, %d bytes", err, len(html))
	}

	// A folder that cannot be made is said, beside the faults themselves.
	blocked := filepath.Join(dir, "history.jsonl", "x")
	if r := Check(h, Options{Dir: blocked}); !strings.Contains(r.String(), "keep the history") || len(r.Faults) < 2 {
		t.Error(r)
	}
}
