package fsm_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/redlockd/redlockd/fsm"
)

// TestStories runs testdata/*.txt. A story has `run` blocks; each line of a
// block is one entry, and its outcome is what the machine answered:
//
//	node n1 [replaces=1] [nonce=2]    register (open does it by itself)
//	open c1 c2 [node=n1] [name=x] [addr=y]
//	c1: LOCK k LEASE 500              an op; `;` puts several into one entry
//	close c1                          the connection ends
//	tick 5000 | tick +500             an entry at that cluster time, with a keepalive of every node
//	silence 5000 | silence +500       the same without keepalives
//	at 5000 | at +500                 the time of the entries from here on
//	term [+500]                       an empty entry of a new term
//	keepalive n1 [number=3] [contact=pool] [full]
//	resend n1 | resend c1 | early n1  the last batch (of the connection's incarnation) again | the next but one, empty
//	replay                            the newest entry's index again
//	stats holds waiters ... | deadline | setting name
//
// @c1 stands for a connection's id (which is its first session's too), $s1 for
// the first drawn session id that was seen, `next` for the last scan cursor.
// `run events` prints events too, `run detail` all of an error's facts. After
// every entry the second machine is loaded anew from the records.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			s := newStory()
			datadriven.RunTest(t, f, func(t *testing.T, d *datadriven.TestData) string {
				switch d.Cmd {
				case "run":
				case "reset": // a new cluster in the same file
					s = newStory()
				default:
					d.Fatalf(t, "unknown directive %s", d.Cmd)
				}
				s.events, s.detail = d.HasArg("events"), d.HasArg("detail")
				return s.run(t, d)
			})
		})
	}
}

type story struct {
	*world
	byName   map[string]*conn
	sessions map[fsm.SessionID]string // drawn ids, in the order seen
	keys     map[string]string        // $s1 -> id
	names    map[string]fsm.SessionID // named sessions, for contacts
	ops      map[fsm.Address]*fsm.Op
	cursor   uint64
	events   bool
	detail   bool
	out      strings.Builder
	last     struct {
		keepalives []fsm.Keepalive
		items      []fsm.Item
	}
}

func newStory() *story {
	return &story{
		world: newWorld(1), byName: map[string]*conn{}, sessions: map[fsm.SessionID]string{}, keys: map[string]string{},
		names: map[string]fsm.SessionID{}, ops: map[fsm.Address]*fsm.Op{},
	}
}

func (s *story) run(t *testing.T, d *datadriven.TestData) string {
	s.out.Reset()
	for _, line := range strings.Split(d.Input, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := s.line(line); err != nil {
			d.Fatalf(t, "%s\n%v\nso far:\n%s", line, err, s.out.String())
		}
	}
	return s.out.String()
}

func (s *story) line(line string) error {
	if strings.Contains(strings.Fields(line)[0], ":") {
		return s.opLine(line)
	}
	words, err := splitWords(line)
	if err != nil {
		return err
	}
	var args []string
	opts := map[string]string{}
	for _, w := range words[1:] {
		if k, v, ok := strings.Cut(w, "="); ok {
			opts[k] = v
		} else {
			args = append(args, w)
		}
	}
	if f, ok := storyWords[words[0]]; ok {
		return f(s, args, opts)
	}
	return fmt.Errorf("unknown line")
}

var storyWords = map[string]func(*story, []string, map[string]string) error{
	"node": (*story).doNode, "open": (*story).doOpen, "close": (*story).doClose, "tick": (*story).doTick, "term": (*story).doTerm,
	"at": (*story).doAt, "silence": (*story).doSilence, "keepalive": (*story).doKeepalive, "resend": (*story).doResend, "early": (*story).doEarly, "replay": (*story).doReplay,
	"stats": (*story).doStats, "deadline": (*story).doDeadline, "setting": (*story).doSetting,
}

// opLine applies the ops of one line as one entry, one batch for each node.
func (s *story) opLine(line string) error {
	var nodes []*node
	ops := map[*node][]*fsm.Op{}
	for _, part := range strings.Split(line, " ; ") {
		who, text, _ := strings.Cut(part, ":")
		c := s.byName[strings.TrimSpace(who)]
		if c == nil {
			return fmt.Errorf("no connection %q", who)
		}
		op, err := parseOp(text, s.word)
		if err != nil {
			return err
		}
		p := c.next(op)
		s.ops[fsm.Address{Conn: p.Conn, Seq: p.Seq}] = p
		if !slices.Contains(nodes, c.node) {
			nodes = append(nodes, c.node)
		}
		ops[c.node] = append(ops[c.node], p)
	}
	items := make([]fsm.Item, 0, len(nodes))
	for _, n := range nodes {
		items = append(items, n.batchOf(ops[n]...))
	}
	if err := s.entry(nil, items...); err != nil {
		return err
	}
	return s.proposeAgain()
}

// entry applies one entry and prints its effects.
func (s *story) entry(keepalives []fsm.Keepalive, items ...fsm.Item) error {
	eff, err := s.world.entry(keepalives, items...)
	if err != nil {
		return err
	}
	s.last.keepalives, s.last.items = keepalives, items
	s.print(eff)
	return nil
}

// proposeAgain does what a node does with refused ops, until nothing moves.
func (s *story) proposeAgain() error {
	for moved := true; moved; {
		moved = false
		for _, c := range s.sorted() {
			ops := s.again(c)
			if len(ops) == 0 {
				continue
			}
			moved = true
			if err := s.entry(nil, c.node.batchOf(ops...)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *story) sorted() []*conn {
	cs := make([]*conn, 0, len(s.conns))
	for _, c := range s.conns {
		cs = append(cs, c)
	}
	slices.SortFunc(cs, func(a, b *conn) int { return int(int64(a.id) - int64(b.id)) })
	return cs
}

func (s *story) nodeOf(name string) (*node, error) {
	if name == "" {
		name = "n1"
	}
	if n := s.nodes[name]; n != nil {
		return n, nil
	}
	_, n, err := s.register(name, 0, 1)
	return n, err
}

func (s *story) doNode(args []string, opts map[string]string) error {
	var replaces fsm.Incarnation
	nonce := byte(1)
	if n := s.nodes[args[0]]; n != nil {
		replaces, nonce = n.inc, n.nonce+1
	}
	if v, ok := opts["replaces"]; ok {
		i, err := strconv.Atoi(v)
		if err != nil {
			return err
		}
		replaces = fsm.Incarnation(i)
	}
	if v, ok := opts["nonce"]; ok {
		i, err := strconv.Atoi(v)
		if err != nil {
			return err
		}
		nonce = byte(i)
	}
	eff, _, err := s.register(args[0], replaces, nonce)
	if err != nil {
		return err
	}
	s.last.keepalives, s.last.items = nil, nil
	s.print(eff)
	return nil
}

func (s *story) doOpen(args []string, opts map[string]string) error {
	n, err := s.nodeOf(opts["node"])
	if err != nil {
		return err
	}
	var ops []*fsm.Op
	for _, name := range args {
		c, op := s.open(n, name, opts["name"], opts["addr"])
		s.byName[name] = c
		ops = append(ops, op)
	}
	return s.entry(nil, n.batchOf(ops...))
}

func (s *story) doClose(args []string, _ map[string]string) error {
	var n *node
	var ops []*fsm.Op
	for _, name := range args {
		c := s.byName[name]
		if c == nil {
			return fmt.Errorf("no connection %q", name)
		}
		n = c.node
		ops = append(ops, &fsm.Op{Conn: c.id, Code: fsm.OpEnd})
		c.close()
	}
	if err := s.entry(nil, n.batchOf(ops...)); err != nil {
		return err
	}
	return s.proposeAgain()
}

func (s *story) setTime(arg string) error {
	v, err := strconv.ParseInt(strings.TrimPrefix(arg, "+"), 10, 64)
	if err != nil {
		return err
	}
	if arg[0] == '+' {
		v += s.time
	}
	s.time = v
	return nil
}

func (s *story) doAt(args []string, _ map[string]string) error { return s.setTime(args[0]) }

func (s *story) doTick(args []string, _ map[string]string) error {
	if err := s.setTime(args[0]); err != nil {
		return err
	}
	if err := s.entry(s.vouch()); err != nil {
		return err
	}
	return s.proposeAgain()
}

func (s *story) doSilence(args []string, _ map[string]string) error {
	if err := s.setTime(args[0]); err != nil {
		return err
	}
	if err := s.entry(nil); err != nil {
		return err
	}
	return s.proposeAgain()
}

// vouch makes the next keepalive of every node.
func (s *story) vouch() []fsm.Keepalive {
	var ks []fsm.Keepalive
	for _, n := range s.nodes {
		n.ka++
		ks = append(ks, fsm.Keepalive{Incarnation: n.inc, Number: n.ka, DiskFull: n.full})
	}
	slices.SortFunc(ks, func(a, b fsm.Keepalive) int { return int(a.Incarnation) - int(b.Incarnation) })
	return ks
}

func (s *story) doTerm(args []string, _ map[string]string) error {
	s.term++
	if len(args) > 0 {
		if err := s.setTime(args[0]); err != nil {
			return err
		}
	}
	return s.entry(nil)
}

func (s *story) doKeepalive(args []string, opts map[string]string) error {
	n := s.nodes[args[0]]
	if n == nil {
		return fmt.Errorf("no node %q", args[0])
	}
	n.ka++
	n.full = slices.Contains(args[1:], "full")
	k := fsm.Keepalive{Incarnation: n.inc, Number: n.ka, DiskFull: n.full}
	if v, ok := opts["number"]; ok {
		i, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return err
		}
		k.Number = i
	}
	if v, ok := opts["inc"]; ok {
		i, err := strconv.Atoi(v)
		if err != nil {
			return err
		}
		k.Incarnation = fsm.Incarnation(i)
	}
	if name := opts["contact"]; name != "" {
		id, ok := s.names[name]
		if !ok {
			return fmt.Errorf("session %q was not seen", name)
		}
		k.Contacts = append(k.Contacts, id)
	}
	return s.entry([]fsm.Keepalive{k})
}

func (s *story) doResend(args []string, _ map[string]string) error {
	if c := s.byName[args[0]]; c != nil {
		return s.entry(nil, c.node.last) // of its incarnation, which may have ended
	}
	return s.entry(nil, s.nodes[args[0]].last)
}

func (s *story) doEarly(args []string, _ map[string]string) error {
	n := s.nodes[args[0]]
	return s.entry(nil, fsm.Item{Kind: fsm.ItemBatch, Batch: fsm.Batch{Incarnation: n.inc, Number: n.batch + 2}})
}

func (s *story) doReplay([]string, map[string]string) error {
	e := fsm.Entry{Index: s.index, Term: s.term, Time: s.time, Keepalives: s.last.keepalives, Items: s.last.items}
	hash := s.m.Hash()
	if eff := s.m.Apply(&e); eff != nil {
		s.print(eff)
	}
	if s.m.Hash() != hash {
		return fmt.Errorf("the entry applied again changed the state")
	}
	return s.m.CheckInvariants()
}

func (s *story) doDeadline([]string, map[string]string) error {
	if ms, ok := s.m.NextDeadline(); ok {
		fmt.Fprintf(&s.out, "deadline %d\n", ms)
	} else {
		s.out.WriteString("no deadline\n")
	}
	return nil
}

func (s *story) doSetting(args []string, _ map[string]string) error {
	v, ok := s.m.Setting(args[0])
	if !ok {
		v = "unknown setting"
	}
	fmt.Fprintf(&s.out, "%s\n", v)
	return nil
}

func (s *story) doStats(args []string, _ map[string]string) error {
	st := s.m.Stats()
	values := map[string]any{
		"sessions": st.Sessions, "named": st.NamedSessions, "connections": st.Connections, "holds": st.Holds, "waiters": st.Waiters,
		"destroyed": st.Destroyed, "notices": st.Notices, "ids": st.IDs, "fence": st.LastFence,
	}
	for i, a := range args {
		v, ok := values[a]
		if !ok {
			return fmt.Errorf("no stat %q", a)
		}
		if i > 0 {
			s.out.WriteByte(' ')
		}
		fmt.Fprintf(&s.out, "%s=%v", a, v)
	}
	s.out.WriteByte('\n')
	return nil
}
