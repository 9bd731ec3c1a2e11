package commands

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestSpecsAreComplete: what is derived from a Spec needs it filled in.
func TestSpecsAreComplete(t *testing.T) {
	groups := map[string]bool{"generic": true, "connection": true, "server": true, "cluster": true, "pubsub": true, "sentinel": true} // redis-cli knows these
	complete := func(s *Spec) bool {
		what := s.Words()
		if s.Name != strings.ToLower(s.Name) || len(s.Name) > maxWord {
			t.Errorf("%s: the name is not a short word in lower case", what)
		}
		if s.Arity == 0 || !groups[s.Group] || s.Since == "" || s.Summary == "" || strings.HasSuffix(s.Summary, ".") {
			t.Errorf("%s: arity, group, since or summary is wrong or missing", what)
		}
		container := len(s.Subs) > 0 && s.run == nil
		if container != (s.run == nil && s.parse == nil) {
			t.Errorf("%s: no handler", what)
		}
		if s.run != nil && s.parse != nil || s.parse != nil && s.phrase == nil {
			t.Errorf("%s: a command has parse and phrase, or run", what)
		}
		if !container && (len(s.Replies) == 0 || s.Example == "" || s.Complexity == "") {
			t.Errorf("%s: no replies, example or complexity", what)
		}
		if s.Example != "" && !strings.HasPrefix(s.Example, "> "+s.Words()) {
			t.Errorf("%s: the example is of another command", what)
		}
		if least := leastArgs(s); s.Arity > 0 && s.Arity != least || s.Arity < 0 && -s.Arity < least && s.Name != "hello" && !container {
			t.Errorf("%s: arity %d does not fit the arguments, which are %d at least", what, s.Arity, least)
		}
		if hasKey := len(s.Args) > 0 && s.Args[0].Type == ArgKey; hasKey != (s.Key != KeyNone) {
			t.Errorf("%s: Key and Args do not agree", what)
		}
		return true
	}
	theTable.Specs(complete)
	theSentinelTable.Specs(complete)
}

// leastArgs counts the words and arguments that must stand.
func leastArgs(s *Spec) int {
	n := 1 + strings.Count(s.Words(), " ")
	for _, a := range s.Args {
		n += leastOf(a)
	}
	return n
}

func leastOf(a Arg) int {
	if a.Optional {
		return 0
	}
	n := boolInt(a.Token != "" && a.Type != ArgWord)
	switch a.Type {
	case ArgOneOf:
		least := 99
		for _, choice := range a.Args {
			least = min(least, leastOf(choice))
		}
		return n + least
	case ArgBlock:
		for _, part := range a.Args {
			n += leastOf(part)
		}
		return n
	case ArgString, ArgInteger, ArgKey, ArgPattern, ArgWord:
	}
	return n + 1
}

// TestFlagsOfCommandInfo is the last bullet of COMMANDS.md.
func TestFlagsOfCommandInfo(t *testing.T) {
	const (
		blocking = "write noscript blocking"
		write    = "write noscript"
		query    = "readonly"
	)
	want := map[string]string{
		"lock": blocking, "trylock": blocking, "unlock": write, "forceunlock": write, "renew": write, "unwait": write, "destroy": write,
		"undestroy": write, "lockcount": query, "fence": query, "islocked": query, "isowner": query, "leasetime": query, "lockinfo": query,
		"lockwaiters": query, "lockscan": query, "session|kill": write,
	}
	dangerous := map[string]bool{"forceunlock": true, "destroy": true, "undestroy": true, "session|kill": true}
	table := NewTable()
	for name, flags := range want {
		s := table.byName([]byte(name))
		got := strings.Join((s.Flags &^ Fast).names(), " ")
		if got != flags {
			t.Errorf("%s has flags %s, want %s", name, got, flags)
		}
		cats := fmt.Sprint(s.categories())
		if dangerous[name] != (strings.Contains(cats, "admin") && strings.Contains(cats, "dangerous")) {
			t.Errorf("%s has categories %s", name, cats)
		}
		if keyed := name != "lockscan" && name != "session|kill"; keyed != (s.Key != KeyNone) {
			t.Errorf("%s: its key is not argument 1, or it has none and should", name)
		}
	}
}

// TestArity sends every command with every small number of arguments: too few
// or too many is Redis's error, and a right number is never that error.
func TestArity(t *testing.T) {
	table := NewTable()
	table.Specs(func(s *Spec) bool {
		words := strings.Fields(s.Words())
		for n := len(words); n <= 12; n++ {
			if len(s.Subs) > 0 && n > len(words) {
				break // the next word is a subcommand
			}
			args := byteArgs(words)
			for len(args) < n {
				args = append(args, []byte("1"))
			}
			right := s.Arity == n || s.Arity < 0 && n >= -s.Arity
			got, p := table.resolve(args)
			want := problem(fmt.Sprintf("ERR wrong number of arguments for '%s' command", s.FullName()))
			if got != s || right && p != noProblem || !right && p != want {
				t.Errorf("%s with %d arguments resolves to %v and %q", s.Words(), n, got, p)
			}
		}
		return true
	})
}

func TestNamesHaveNoCase(t *testing.T) {
	table := NewTable()
	for _, line := range []string{"lock k", "LOCK k", "LoCk k", "client id", "CLIENT id", "session LIST"} {
		if s, p := table.resolve(byteArgs(strings.Fields(line))); s == nil || p != noProblem {
			t.Errorf("%s: %q", line, p)
		}
	}
	for _, line := range []string{"loc k", "lockk k", strings.Repeat("x", 5000), "lock\x00 k", "löck k"} {
		if s, _ := table.resolve(byteArgs(strings.Fields(line))); s != nil {
			t.Errorf("%s is %s", line, s.Words())
		}
	}
}

func TestUnknownCommandIsShort(t *testing.T) {
	args := [][]byte{bytes.Repeat([]byte("c"), 60000)}
	for range 60 {
		args = append(args, bytes.Repeat([]byte("a"), 60000))
	}
	if _, p := NewTable().resolve(args); len(p) > 400 {
		t.Errorf("the error has %d bytes", len(p))
	}
}

// TestMoreCommands: groups of later issues come as further lists.
func TestMoreCommands(t *testing.T) {
	table := NewTable([]*Spec{{Name: "readonly", Arity: 1, Group: "cluster", Summary: "x", run: runQuit}})
	if s, p := table.resolve(byteArgs([]string{"READONLY"})); s == nil || p != noProblem {
		t.Error(p)
	}
}

func TestManualIsFresh(t *testing.T) {
	have, err := os.ReadFile("../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, Manual()) {
		t.Error("docs/commands.md is stale: run go generate ./commands")
	}
}

func TestGlob(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true},
		{"*", "abc", true},
		{"", "", true},
		{"", "a", false},
		{"a*c", "abbc", true},
		{"a*c", "abbd", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"[ab]x", "bx", true},
		{"[^ab]x", "bx", false},
		{"[a-c]x", "bx", true},
		{"[c-a]x", "bx", true},
		{`\*`, "*", true},
		{`\*`, "a", false},
		{"MAX-*", "max-holds", true},
		{"*-per-*", "max-holds-per-session", true},
		{"[a", "a", true},
		{`a\`, `a\`, true},
		{"a**b", "ab", true},
		{"[", "x", false},
		{`[\]]`, "]", true},
	} {
		if got := globMatch(tt.pattern, tt.s); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.s, got)
		}
	}
	// A pattern made to backtrack takes no time.
	globMatch(strings.Repeat("a*", 500)+"b", strings.Repeat("a", 1000))
}
