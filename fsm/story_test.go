package fsm_test

import (
	"fmt"
	"path/filepath"
	"slices"
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
//	keepalive n1 [number=3] [contact=pool] [full] [seen=7000]
//	resend n1 | resend c1 | early n1  the last batch (of the connection's incarnation) again | the next but one, empty
//	recover                           the state becomes the start of a new cluster (Machine.Recover)
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
	seen     int64 // the time of the newest entry: what nodes have applied
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
	s.last.keepalives, s.last.items, s.seen = keepalives, items, s.time
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
