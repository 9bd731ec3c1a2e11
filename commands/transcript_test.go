package commands

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redlockd/redlockd/fsm"
)

// Transcripts are dialogues in testdata/*.txt. Lines:
//
//	> LOCK k LEASE 5     a client sends this
//	= lock key="k" ...   the op that it asks of the machine
//	~ 7                  what the machine answers: an integer, a CODE (see replyOf), or @fixture
//	< :7                 the reply; <2 and <3 where RESP2 and RESP3 differ; /regexp/ where it varies
//	! closed             the server closes the connection
//	! silent             it does so instead of a reply
//	@ 2                  from here on by client 2
//	% text               something happens to the fake cluster (see fakeCluster.happen)
//	^2 ...  ^3 ...       what that makes the server push, with RESP2 and RESP3
//	# text               a comment
//
// The first lines may be "mode raw" (no HELLO is sent, run once), "password x",
// "cluster n2" (three nodes, seen from n2; n1 leads), "redirect" (followers
// redirect), "disabled" (clients see no cluster), "sentinel" (the Sentinel port).
// go test -run Transcripts -rewrite writes the = and < lines anew.
var rewrite = flag.Bool("rewrite", false, "write what was seen into the golden files")

func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	covered := map[*Spec]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			runTranscript(t, file, covered)
		})
	}
	if *rewrite {
		return
	}
	for _, table := range []*Table{theTable, theSentinelTable} {
		table.Specs(func(s *Spec) bool {
			if !covered[s] && len(s.Subs) == 0 {
				t.Errorf("%s has no transcript: add a dialogue with it to testdata", s.upper)
			}
			return true
		})
	}
}

// The tables by which transcripts are checked; worlds have their own.
var theTable, theSentinelTable = NewTable(), sentinelTable()

type script struct {
	lines    []string
	raw      bool
	password string
	cluster  string // the node that is asked; empty: a node alone
	redirect bool
	disabled bool
	sentinel bool
	ops      map[int]string // by the number of the > line
}

func runTranscript(t *testing.T, file string, covered map[*Spec]bool) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{lines: strings.Split(strings.TrimRight(string(data), "\n"), "\n"), ops: map[int]string{}}
	for _, l := range s.lines {
		if l == "mode raw" {
			s.raw = true
		}
		if p, ok := strings.CutPrefix(l, "password "); ok {
			s.password = p
		}
		if n, ok := strings.CutPrefix(l, "cluster "); ok {
			s.cluster = n
		}
		s.redirect = s.redirect || l == "redirect"
		s.disabled = s.disabled || l == "disabled"
		s.sentinel = s.sentinel || l == "sentinel"
	}
	replies := map[int]map[int]string{}
	protos := []int{2, 3}
	if s.raw {
		protos = []int{2}
	}
	for _, proto := range protos {
		t.Run("resp"+strconv.Itoa(proto), func(t *testing.T) { s.play(t, proto, replies, covered) })
	}
	if *rewrite && !t.Failed() {
		if err := os.WriteFile(file, []byte(s.rewritten(replies)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// play runs the script once and notes each reply under the number of its > line.
func (s *script) play(t *testing.T, proto int, replies map[int]map[int]string, covered map[*Spec]bool) {
	w := s.world(t)
	peers := map[string]*peer{}
	now := "1"
	me := func() *peer {
		if peers[now] == nil {
			peers[now] = w.dial(t)
			if !s.raw && proto == 3 {
				peers[now].do("HELLO 3")
			}
		}
		return peers[now]
	}
	for i := 0; i < len(s.lines); i++ {
		switch kind, rest, _ := strings.Cut(s.lines[i], " "); kind {
		case "@":
			now = rest
			me()
		case "!":
			me().gone()
		case "%":
			w.cluster.happen(t, rest)
			if s.sentinel {
				w.sentinel.Observe()
			}
			if want, ok := s.after(i, "^"+strconv.Itoa(proto)); ok {
				if got := me().read(); got != want {
					t.Errorf("line %d: %s, want %s", i+1, got, want)
				}
			}
		case ">":
			s.step(t, me(), i, proto, rest, replies, covered)
		}
	}
}

func (s *script) world(t *testing.T) *world {
	var c *fakeCluster
	if s.cluster != "" {
		c = newFakeCluster(s.cluster)
	}
	if s.sentinel {
		return newSentinelWorld(t, s.password, c)
	}
	return newWorldOf(t, s.password, c, func(o *Options) {
		o.Redirect = s.redirect
		if s.disabled {
			o.ClusterMode = ClusterOff
		}
	})
}

func (s *script) step(t *testing.T, p *peer, at, proto int, line string, replies map[int]map[int]string, covered map[*Spec]bool) {
	t.Helper()
	args := splitLine(t, line)
	p.send(args)
	if given, ok := s.after(at, "~"); ok {
		a := p.s.next(t)
		op := describeOp(&a.op)
		s.ops[at] = op
		if want, _ := s.after(at, "="); want != op && !*rewrite {
			t.Errorf("line %d: %s asks for\n  %s, want\n  %s", at+1, line, op, want)
		}
		p.s.answer(a, replyOf(t, given))
	} else if how, _ := s.after(at, "!"); how == "silent" {
		s.note(t, line, args, nil, proto, covered)
		return
	}
	v, err := p.r.read()
	if err != nil {
		t.Fatalf("line %d: %s: %v", at+1, line, err)
	}
	if s.raw && v.kind == '%' {
		proto = 3 // by its own HELLO
	}
	s.note(t, line, args, &v, proto, covered)
	if s.raw {
		proto = 2
	}
	if replies[at] == nil {
		replies[at] = map[int]string{}
	}
	replies[at][proto] = v.String()
	want, ok := s.after(at, "<"+strconv.Itoa(proto))
	if !ok {
		want, _ = s.after(at, "<")
	}
	if !matches(want, v.String()) && !*rewrite {
		t.Errorf("line %d: %s answers\n  %s, want\n  %s", at+1, line, v, want)
	}
}

func matches(want, got string) bool {
	if pattern, ok := strings.CutPrefix(want, "/"); ok {
		return regexp.MustCompile("^(?s:" + strings.TrimSuffix(pattern, "/") + ")$").MatchString(got)
	}
	return want == got
}

// after finds a line of a kind that belongs to the > line at.
func (s *script) after(at int, kind string) (string, bool) {
	for _, l := range s.lines[at+1:] {
		k, rest, _ := strings.Cut(l, " ")
		if k == ">" || k == "@" || k == "%" {
			break
		}
		if k == kind {
			return rest, true
		}
	}
	return "", false
}

func (s *script) rewritten(replies map[int]map[int]string) string {
	var out []string
	for i, l := range s.lines {
		kind, rest, _ := strings.Cut(l, " ")
		if kind == "=" || strings.HasPrefix(kind, "<") && !strings.HasPrefix(rest, "/") {
			continue
		}
		out = append(out, l)
		if op, ok := s.ops[i]; ok {
			out = append(out, "= "+op)
		}
		_, given := s.after(i, "~")
		if kind == "~" {
			for i--; !strings.HasPrefix(s.lines[i], "> "); i-- {
			}
		}
		if kind == ">" && given || kind != ">" && kind != "~" {
			continue
		}
		if want, ok := s.after(i, "<"); ok && strings.HasPrefix(want, "/") {
			continue
		}
		r := replies[i]
		switch {
		case len(r) == 0:
		case len(r) == 1 || r[2] == r[3]:
			out = append(out, "< "+r[2])
		default:
			out = append(out, "<2 "+r[2], "<3 "+r[3])
		}
	}
	return strings.Join(out, "\n") + "\n"
}

// note checks the shape of a reply against what the command declares.
func (s *script) note(t *testing.T, line string, args []string, v *value, proto int, covered map[*Spec]bool) {
	t.Helper()
	table := theTable
	if s.sentinel {
		table = theSentinelTable
	}
	spec, p := table.resolve(byteArgs(args))
	if spec == nil || p != noProblem || v != nil && v.kind == '-' || spec.Flags&Hidden != 0 {
		return
	}
	covered[spec] = true
	if !slices.ContainsFunc(spec.Replies, func(s Shape) bool { return fits(s.Kind, v, proto) }) {
		t.Errorf("%s answers %v, which is none of the shapes that its Spec declares", line, v)
	}
}

func fits(kind ReplyKind, v *value, proto int) bool {
	if v == nil {
		return kind == ReplyNone
	}
	switch kind {
	case ReplyInteger:
		return v.kind == ':'
	case ReplySimple:
		return v.kind == '+'
	case ReplyBulk:
		return v.kind == '$'
	case ReplyNull:
		return v.kind == '_'
	case ReplyArray:
		return v.kind == '*'
	case ReplyMap:
		return proto == 3 && v.kind == '%' || proto == 2 && v.kind == '*' && len(v.elems)%2 == 0
	case ReplyText:
		return proto == 3 && v.kind == '=' || proto == 2 && v.kind == '$'
	case ReplyPush:
		return proto == 3 && v.kind == '>' || proto == 2 && v.kind == '*'
	case ReplyNone:
	}
	return false
}

// describeOp prints the fields of an op that are set.
func describeOp(op *fsm.Op) string {
	var b strings.Builder
	b.WriteString(opName(op.Code))
	for _, f := range []struct {
		name string
		v    []byte
	}{{"key", op.Key}, {"owner", op.Owner}, {"id", op.ID}, {"note", op.Note}, {"name", op.Name}, {"value", op.Value}} {
		if len(f.v) > 0 {
			fmt.Fprintf(&b, " %s=%q", f.name, f.v)
		}
	}
	for _, f := range []struct {
		name string
		v    int64
	}{{"lease", op.Lease}, {"timeout", op.Timeout}, {"fence", int64(op.Fence)}, {"count", op.Count}, {"target", int64(op.Target)}} {
		if f.v != 0 {
			fmt.Fprintf(&b, " %s=%d", f.name, f.v)
		}
	}
	for i, name := range []string{"keep", "async", "heartbeat", "by-name", "waited", "destroyed", "error"} {
		if op.Flags&(1<<i) != 0 {
			b.WriteString(" " + name)
		}
	}
	return b.String()
}

func opName(code fsm.OpCode) string {
	names := map[fsm.OpCode]string{
		fsm.OpLock: "lock", fsm.OpTryLock: "trylock", fsm.OpUnlock: "unlock", fsm.OpForceUnlock: "forceunlock", fsm.OpRenew: "renew",
		fsm.OpUnwait: "unwait", fsm.OpLockCount: "lockcount", fsm.OpFence: "fence", fsm.OpIsLocked: "islocked", fsm.OpIsOwner: "isowner",
		fsm.OpLeaseTime: "leasetime", fsm.OpLockInfo: "lockinfo", fsm.OpLockWaiters: "lockwaiters", fsm.OpLockScan: "lockscan",
		fsm.OpDestroy: "destroy", fsm.OpUndestroy: "undestroy", fsm.OpSessionID: "session-id", fsm.OpSessionAttach: "attach",
		fsm.OpSessionDetach: "detach", fsm.OpSessionClose: "session-close", fsm.OpSessionInfo: "session-info",
		fsm.OpSessionList: "session-list", fsm.OpSessionKill: "session-kill", fsm.OpReset: "reset", fsm.OpUnblock: "unblock",
		fsm.OpKillConn: "kill-conn", fsm.OpConfigSet: "config-set",
	}
	if n := names[code]; n != "" {
		return n
	}
	return fmt.Sprintf("op-%d", code)
}
