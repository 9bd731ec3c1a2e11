package commands

import (
	"strings"
	"sync/atomic"

	"github.com/redlockd/redlockd/fsm"
)

// firstRelease is the Since of every command that names none.
const firstRelease = "0.1.0"

// maxWord is the longest word that can be a command's name; longer ones are
// unknown without a look into the table.
const maxWord = 32

// Table is all commands of this server. It is made once and then only read,
// but for the counts.
type Table struct {
	specs  []*Spec // in the order of the manual
	byWord map[string]*Spec
}

// counts are a command's numbers since the start. They have a cache line of
// their own, or counting would slow down everybody who reads the Spec.
type counts struct {
	calls, rejected, failed atomic.Uint64
	_                       [40]byte
}

// NewTable makes the table. Groups of commands that depend on how a server is
// set up come as further lists.
func NewTable(more ...[]*Spec) *Table {
	return tableOf(append([][]*Spec{
		lockSpecs(), sessionSpecs(), connectionSpecs(), clientSpecs(), serverSpecs(), clusterSpecs(),
	}, more...)...)
}

func tableOf(groups ...[]*Spec) *Table {
	t := &Table{byWord: map[string]*Spec{}}
	for _, group := range groups {
		for _, s := range group {
			t.add(s)
		}
	}
	return t
}

func (t *Table) add(s *Spec) {
	s.full, s.upper, s.counts = s.Name, strings.ToUpper(s.Name), &counts{}
	if s.Since == "" {
		s.Since = firstRelease
	}
	if len(s.Subs) > 0 {
		s.Subs = append(s.Subs, helpSpec(s))
		s.subs = map[string]*Spec{}
	}
	for _, sub := range s.Subs {
		sub.full, sub.counts = s.Name+"|"+sub.Name, &counts{}
		sub.upper = s.upper + " " + strings.ToUpper(sub.Name)
		if sub.Since == "" {
			sub.Since = s.Since
		}
		if sub.Group == "" {
			sub.Group = s.Group
		}
		s.subs[strings.ToUpper(sub.Name)] = sub
	}
	t.specs = append(t.specs, s)
	t.byWord[s.upper] = s
}

// Specs yields every command that is not hidden, each followed by its
// subcommands, in the order of the manual.
func (t *Table) Specs(yield func(*Spec) bool) {
	for _, s := range t.specs {
		if s.Flags&Hidden != 0 {
			continue
		}
		if !yield(s) {
			return
		}
		for _, sub := range s.Subs {
			if !yield(sub) {
				return
			}
		}
	}
}

// listed are the commands that COMMAND counts: no subcommands, none hidden.
func (t *Table) listed() []*Spec {
	var specs []*Spec
	for _, s := range t.specs {
		if s.Flags&Hidden == 0 {
			specs = append(specs, s)
		}
	}
	return specs
}

// Counts yields each command's full name and its numbers since the start:
// calls that ran, those rejected before they ran, and those answered by an error.
func (t *Table) Counts(yield func(name string, calls, rejected, failed uint64) bool) {
	t.Specs(func(s *Spec) bool {
		return yield(s.full, s.counts.calls.Load(), s.counts.rejected.Load(), s.counts.failed.Load())
	})
}

// find looks a word up in m, whatever its case, without allocating.
func find(m map[string]*Spec, word []byte) *Spec {
	var upper [maxWord]byte
	if len(word) > len(upper) {
		return nil
	}
	for i, c := range word {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	return m[string(upper[:len(word)])]
}

// byName finds a command by the name that COMMAND INFO takes: client or client|kill.
func (t *Table) byName(name []byte) *Spec {
	word, sub, isSub := strings.Cut(string(name), "|")
	s := find(t.byWord, []byte(word))
	if isSub && s != nil {
		s = find(s.subs, []byte(sub))
	}
	if s != nil && s.Flags&Hidden != 0 {
		return nil
	}
	return s
}

// resolve finds the command of a line. The problem is Redis's, word for word:
// clients tell an old server by it.
func (t *Table) resolve(args [][]byte) (*Spec, problem) {
	s := find(t.byWord, args[0])
	if s == nil {
		return nil, unknownCommand(args)
	}
	if len(s.Subs) > 0 && len(args) > 1 {
		sub := find(s.subs, args[1])
		if sub == nil {
			return nil, problem("ERR unknown subcommand '" + string(shorten(args[1])) + "'. Try " + s.upper + " HELP.")
		}
		s = sub
	}
	if !s.takes(len(args)) {
		return s, wrongArity(s)
	}
	return s, noProblem
}

func wrongArity(s *Spec) problem {
	return problem("ERR wrong number of arguments for '" + s.full + "' command")
}

func unknownCommand(args [][]byte) problem {
	const most = 128
	var b strings.Builder
	b.WriteString("ERR unknown command '" + string(shorten(args[0])) + "', with args beginning with: ")
	shown := 0
	for _, a := range args[1:] {
		if shown >= most {
			break
		}
		a = a[:min(len(a), most-shown)]
		b.WriteString("'" + string(a) + "' ")
		shown += len(a) + len("'' ")
	}
	return problem(b.String())
}

// isOp reports whether the command goes through the machine as it is.
func (s *Spec) isOp() bool { return s.parse != nil }

// opSpec fills in what the specs of ops share.
func opSpec(s *Spec, parse func([][]byte, *fsm.Op) problem) *Spec {
	s.parse = parse
	if s.phrase == nil {
		s.phrase = phraseInt
	}
	return s
}
