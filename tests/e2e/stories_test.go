package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// TestStories tells every story through every client.
func TestStories(t *testing.T) {
	paths := storyFiles(t)
	shared := harness.Start(t)
	for i, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name, func(t *testing.T) {
			for j, via := range drivers {
				s, err := readStory(path, fmt.Sprintf("s%d-%d-", i, j))
				if err != nil {
					t.Fatal(err)
				}
				if s.only != nil && !slices.Contains(s.only, via.name) {
					continue
				}
				t.Run(via.name, func(t *testing.T) {
					server := shared
					switch {
					case s.alone:
						server = harness.StartAlone(t, s.server...)
					case s.server != nil:
						server = harness.Start(t, s.server...)
					}
					s.play(t, server.Addr(), via.open)
				})
			}
		})
	}
}

func storyFiles(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/stories/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	return paths
}

// toldElsewhere are commands that no story can hold, and the test that has them.
var toldElsewhere = map[string]string{
	"shutdown": "TestShutdownCommand",
}

// TestEveryCommandHasAStory asks the server for its commands: each must be in a story.
func TestEveryCommandHasAStory(t *testing.T) {
	told := map[string]bool{}
	for _, path := range storyFiles(t) {
		s, err := readStory(path, "x")
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range s.steps {
			if len(st.args) == 0 {
				continue
			}
			name := strings.ToLower(st.args[0])
			told[name] = true
			if len(st.args) > 1 {
				told[name+"|"+strings.ToLower(st.args[1])] = true
			}
		}
	}
	c := harness.Start(t).Client()
	list := c.Do("COMMAND", "LIST")
	if len(list.Items) < 20 {
		t.Fatalf("COMMAND LIST: %v", list)
	}
	var missing []string
	for _, name := range list.Items {
		if lower := strings.ToLower(name.Text); !told[lower] && toldElsewhere[lower] == "" {
			missing = append(missing, lower)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		t.Errorf("no story in testdata/stories has: %s", strings.Join(missing, ", "))
	}
}

// TestStoriesParse finds mistakes in stories without a server.
func TestStoriesParse(t *testing.T) {
	for _, path := range storyFiles(t) {
		if s, err := readStory(path, "x"); err != nil || len(s.steps) == 0 {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestPatterns(t *testing.T) {
	integer := func(n int64) harness.Value { return harness.Value{Kind: harness.Int, Int: n} }
	text := func(s string) harness.Value { return harness.Value{Kind: harness.Bulk, Text: s} }
	items := func(kind harness.Kind, items ...harness.Value) harness.Value {
		return harness.Value{Kind: kind, Items: items}
	}
	pairs := []harness.Value{text("k"), integer(1), text("j"), text("x y")}
	for _, c := range []struct {
		pattern string
		value   harness.Value
		want    bool
	}{
		{":5", integer(5), true},
		{":5", integer(6), false},
		{":5", text("5"), false},
		{":*", integer(-1), true},
		{":$f", integer(7), true},
		{":$g", integer(9), true},
		{":$f", integer(8), false},
		{":>$f", integer(8), true},
		{":>$f", integer(7), false},
		{":1..10", integer(10), true},
		{":1..10", integer(11), false},
		{"+OK", text("OK"), true},
		{"+OK", text("OKAY"), false},
		{`"a*c"`, text("abcc"), true},
		{`"a*c*"`, text("ab"), false},
		{`"*a*a"`, text("a"), false},
		{`"$f"`, text("7"), true},
		{"-ERR no *", harness.Value{Kind: harness.Error, Text: "ERR no way"}, true},
		{"-ERR no *", harness.Value{Kind: harness.Error, Text: "LIMIT no way"}, false},
		{"[:1 :2]", items(harness.Array, integer(1), integer(2)), true},
		{"[:1]", items(harness.Array, integer(1), integer(2)), false},
		{"[:1 ...]", items(harness.Array, integer(1), integer(2)), true},
		{"[]", items(harness.Array), true},
		{`{j="x y" k=:1}`, items(harness.Map, pairs...), true},
		{`{j="x y" k=:1}`, items(harness.Array, pairs...), true},
		{`{k=:1}`, items(harness.Map, pairs...), false},
		{`{k=:1 ...}`, items(harness.Map, pairs...), true},
		{`{k=:2 ...}`, items(harness.Map, pairs...), false},
		{`[{k=:1 ...} *]`, items(harness.Array, items(harness.Map, pairs...), integer(1)), true},
		{":1|_", harness.Value{Kind: harness.Null}, true},
		{":1|_", integer(2), false},
		{"_", text(""), false},
		{"*", text(""), true},
	} {
		p, err := parsePattern(c.pattern)
		if err != nil {
			t.Error(err)
			continue
		}
		if why := p.match(c.value, map[string]string{"f": "7"}); (why == "") != c.want {
			t.Errorf("%s on %v: %q, want match %v", c.pattern, c.value, why, c.want)
		}
	}
	for _, bad := range []string{"", ":1 :2", "[:1", "{k}", "{k=", `"x`, "x"} {
		if p, err := parsePattern(bad); err == nil {
			t.Errorf("pattern %q: %v, want an error", bad, p)
		}
	}
}
