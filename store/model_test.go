package store

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
)

// model is what a store must hold after a crash at any moment. What is synced
// is as it was acknowledged, or as the step under way leaves it; the state is
// any version from the newest durable one on.
type model struct {
	mu               sync.Mutex
	log, vote, state series
}

// series are the values that a thing has had; those before floor are gone for good.
type series struct {
	all   []string
	floor int
}

func (s *series) add(v string) { s.all = append(s.all, v) }
func (s *series) settle()      { s.floor = len(s.all) - 1 }

func (s *series) allows(v string) bool { return slices.Contains(s.all[s.floor:], v) }

func (s *series) String() string {
	return fmt.Sprintf("%.400q", s.all[s.floor:])
}

// copy returns the model of this moment.
func (m *model) copy() *model {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &model{log: m.log, vote: m.vote, state: m.state}
}

// allowLater lets m have what came since it was copied from now.
func (m *model) allowLater(now *model) {
	now.mu.Lock()
	defer now.mu.Unlock()
	m.log.all, m.vote.all, m.state.all = now.log.all, now.vote.all, now.state.all
}

// change changes the model while nobody copies it.
func (m *model) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func stateVersion(index, term uint64, records map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "(%d,%d)", index, term)
	for _, k := range slices.Sorted(maps.Keys(records)) {
		fmt.Fprintf(&b, " %s=%s", k, records[k])
	}
	return b.String()
}

// verify opens what a crash has left and compares it with the model.
func (m *model) verify(t testing.TB, fs vfs.FS, when string) {
	t.Helper()
	o := crashOptions()
	o.FS = fs
	s, err := Open(o)
	if err != nil {
		t.Errorf("%s: Open: %v", when, err)
		return
	}
	defer closeStore(t, s)
	log := logText(t, s)
	if !m.log.allows(log) {
		t.Errorf("%s: the log is %s, want one of %v", when, log, &m.log)
	}
	vote, err := s.Stable().Get([]byte("vote"))
	must(t, err)
	if !m.vote.allows(string(vote)) {
		t.Errorf("%s: the vote is %s, want one of %v", when, vote, &m.vote)
	}
	records := map[string]string{}
	must(t, s.State(func(w Write) bool {
		records[string(w.Key)] = string(w.Value)
		return true
	}))
	index, term := s.Applied()
	if version := stateVersion(index, term, records); !m.state.allows(version) {
		t.Errorf("%s: the state is %.400s, want one of %v", when, version, &m.state)
	}
	if last := s.log.last.Load(); last != 0 && last < index {
		t.Errorf("%s: the state is at %d, ahead of the log at %d", when, index, last)
	}
}

// script drives a store through everything that it can do.
type script struct {
	t       testing.TB
	s       *Store
	m       *model
	term    uint64
	first   uint64
	log     []*raft.Log
	index   uint64
	records map[string]string
	at      uint64 // term of the applied index
	killed  func() // called before the end of the story, if not nil
	broken  error  // what a log write or vote has returned, which they never may
}

func newScript(t testing.TB) *script {
	return &script{
		t: t, term: 1, first: 1, records: map[string]string{},
		m: &model{
			log: series{all: []string{"empty"}}, vote: series{all: []string{""}},
			state: series{all: []string{stateVersion(0, 0, nil)}},
		},
	}
}

func (c *script) logText() string {
	if len(c.log) == 0 {
		return "empty"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d-%d:", c.log[0].Index, c.log[len(c.log)-1].Index)
	for i := 0; i < len(c.log); {
		j := i
		for j < len(c.log) && c.log[j].Term == c.log[i].Term {
			j++
		}
		fmt.Fprintf(&b, " %dx%d", c.log[i].Term, j-i)
		i = j
	}
	return b.String()
}

// synced does a synced step after which the log is as c.log says.
func (c *script) synced(do func() error) {
	durable := len(c.m.state.all) - 1
	c.m.change(func() { c.m.log.add(c.logText()) })
	c.sure(do())
	c.m.change(func() { c.m.log.settle(); c.m.state.floor = max(c.m.state.floor, durable) })
}

// sure checks a call that must not return an error, whatever the disk does.
func (c *script) sure(err error) {
	if err != nil {
		c.broken = err
		panic(err)
	}
}

func (c *script) check(err error) {
	if err != nil && !errors.Is(err, ErrRestartRaft) {
		c.t.Errorf("%v", err)
		panic(err)
	}
}

func (c *script) store(from, to uint64) {
	logs := entries(from, to, c.term)
	keep := 0
	for keep < len(c.log) && c.log[keep].Index < from {
		keep++
	}
	c.log = append(c.log[:keep:keep], logs...)
	c.synced(func() error { return c.s.Log().StoreLogs(logs) })
}

func (c *script) cut(low, high uint64) {
	c.log = slices.DeleteFunc(slices.Clone(c.log), func(l *raft.Log) bool { return low <= l.Index && l.Index <= high })
	c.synced(func() error { return c.s.Log().DeleteRange(low, high) })
}

func (c *script) vote(v string) {
	c.m.change(func() { c.m.vote.add(v) })
	c.sure(c.s.Stable().Set([]byte("vote"), []byte(v)))
	c.m.change(c.m.vote.settle)
}

func (c *script) apply(index uint64, size int) {
	var ws []Write
	for k := range 5 {
		key := fmt.Sprintf("key%d", (int(index)+k)%9)
		if k == 4 {
			ws = append(ws, put(key)...)
			delete(c.records, key)
			continue
		}
		value := fmt.Sprintf("%d-%s", index, strings.Repeat("v", size))
		ws = append(ws, put(key+"="+value)...)
		c.records[key] = value
	}
	c.index, c.at = index, c.term
	c.version(func() error { return c.s.Apply(index, c.term, ws) })
}

// version does an unsynced step that makes a new version of the state.
func (c *script) version(do func() error) {
	v := stateVersion(c.index, c.at, c.records)
	c.m.change(func() { c.m.state.add(v) })
	c.check(do())
}

func (c *script) snapshot(index uint64) {
	c.index, c.at = index, c.term
	c.version(func() error {
		k, err := c.s.Snapshots().Create(raft.SnapshotVersionMax, index, c.term, testConf, 1, nil)
		c.check(err)
		c.check(c.s.PersistState().Persist(k))
		return k.Close()
	})
	c.synced(func() error { return nil })
}

func (c *script) configure(index uint64) { c.s.SetConfiguration(index, testConf) }

// restore receives and restores the state of another node.
func (c *script) restore(index uint64, stream []byte, records map[string]string) {
	c.index, c.at, c.records = index, c.term, maps.Clone(records)
	id := receive(c.t, c.s, index, c.term, testConf, 1, stream)
	c.log = nil
	v := stateVersion(c.index, c.at, c.records)
	c.m.change(func() { c.m.log.add(c.logText()); c.m.state.add(v) })
	_, r, err := c.s.Snapshots().Open(id)
	c.check(err)
	defer r.Close()
	c.check(c.s.Restore(r, index, c.term))
	c.m.change(func() { c.m.log.settle(); c.m.state.settle() })
}

// other is the state of another node, to be restored.
func other(t testing.TB) (snapshot []byte, records map[string]string) {
	s, err := Open(testOptions(vfs.NewMem()))
	must(t, err)
	defer closeStore(t, s)
	records = map[string]string{}
	for i := range 120 {
		records[fmt.Sprintf("other%03d", i)] = strings.Repeat("o", 1000)
	}
	var ws []Write
	for k, v := range records {
		ws = append(ws, put(k+"="+v)...)
	}
	must(t, s.Apply(1, 1, ws))
	var b bytes.Buffer
	stream(t, s, &b)
	return b.Bytes(), records
}

// run is the story: it opens the store too, since that writes most.
func (c *script) run(fs vfs.FS, stream []byte, records map[string]string, o Options) {
	var err error
	o.FS = fs
	c.s, err = Open(o)
	c.check(err)
	c.vote("1 a")
	c.store(1, 3)
	c.configure(1)
	c.apply(2, 10)
	c.store(4, 9)
	c.apply(3, 10)
	c.apply(6, 2000)
	c.term++
	c.vote("2 b")
	c.store(8, 8) // cuts 8 and 9 of term 1 off
	c.apply(8, 20)
	c.store(9, 30)
	c.cut(20, 30)
	c.snapshot(10)
	c.cut(1, 6)
	for i := uint64(20); i < 50; i++ { // flushes and new WAL files
		c.store(i, i)
		if i%3 == 0 {
			c.apply(i, 1000)
		}
	}
	c.store(50, 60)
	c.term++
	c.restore(55, stream, records)
	c.vote("3 c")
	c.store(56, 58)
	c.apply(57, 5)
	if c.killed != nil {
		c.apply(58, 300)
		c.synced(c.s.Sync)
		c.killed()
	}
	c.check(c.s.Close())
}
