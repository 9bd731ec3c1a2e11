package fsm_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redlockd/redlockd/fsm"
)

var storyWords = map[string]func(*story, []string, map[string]string) error{
	"node": (*story).doNode, "open": (*story).doOpen, "close": (*story).doClose, "tick": (*story).doTick, "term": (*story).doTerm,
	"at": (*story).doAt, "silence": (*story).doSilence, "keepalive": (*story).doKeepalive, "resend": (*story).doResend, "early": (*story).doEarly, "replay": (*story).doReplay,
	"recover": (*story).doRecover, "stats": (*story).doStats, "deadline": (*story).doDeadline, "setting": (*story).doSetting,
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
		ks = append(ks, fsm.Keepalive{Incarnation: n.inc, Number: n.ka, DiskFull: n.full, Seen: s.seen})
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
	k := fsm.Keepalive{Incarnation: n.inc, Number: n.ka, DiskFull: n.full, Seen: s.seen}
	if v, ok := opts["number"]; ok {
		i, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return err
		}
		k.Number = i
	}
	if v, ok := opts["seen"]; ok {
		i, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return err
		}
		k.Seen = i
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
