package commands

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/redlockd/redlockd/fsm"
)

// constNames reads the names of fsm's constants of a type from its source, in
// order, so that a new one cannot be forgotten here.
func constNames(t testing.TB, typ string) []string {
	t.Helper()
	files, err := filepath.Glob("../fsm/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			first, _ := g.Specs[0].(*ast.ValueSpec)
			if id, ok := first.Type.(*ast.Ident); !ok || id.Name != typ {
				continue
			}
			var names []string
			for _, s := range g.Specs {
				names = append(names, s.(*ast.ValueSpec).Names[0].Name)
			}
			return names
		}
	}
	t.Fatalf("fsm has no constants of type %s", typ)
	return nil
}

func whyNames(t testing.TB) []string { return constNames(t, "Why") }

// TestEveryReasonHasASentence walks all codes and reasons, with and without facts.
func TestEveryReasonHasASentence(t *testing.T) {
	op := &fsm.Op{Code: fsm.OpLock, Key: []byte("a\r\n-ERR b\x00\xff"), Owner: []byte("w\n1"), ID: []byte("i"), Name: []byte("s\r\n"), Lease: 5}
	rich := fsm.Detail{Holder: holder(), Fence: 3, Caller: 9, Number: 10, Text: "te\r\nxt"}
	for code := range constNames(t, "Code") {
		for why, name := range whyNames(t) {
			for _, d := range []*fsm.Detail{nil, {Why: fsm.Why(why)}, {Why: fsm.Why(why), Holder: rich.Holder, Fence: 3, Caller: 9, Number: 10, Text: rich.Text}} {
				if code == int(fsm.CodeOK) {
					continue
				}
				word, sentence := phraseError(op, &fsm.Reply{Code: fsm.Code(code), Detail: d})
				what := fmt.Sprintf("%s/%s: %s %s", word, name, word, sentence)
				switch {
				case word == "" || strings.ToUpper(word) != word:
					t.Errorf("%s: no code", what)
				case len(sentence) < 10 || strings.Contains(sentence, "reason "+fmt.Sprint(why)):
					t.Errorf("%s: no sentence", what)
				case strings.ContainsAny(sentence, "\r\n\x00") || !utf8.ValidString(sentence):
					t.Errorf("%q: not one line of text", what)
				}
			}
		}
	}
}

// TestCodesHaveWords: each code of the machine has its row in the table of errors.
func TestCodesHaveWords(t *testing.T) {
	rows := map[fsm.Code]bool{}
	for _, k := range errorKinds() {
		rows[k.code] = true
	}
	for i, name := range constNames(t, "Code") {
		if i != int(fsm.CodeOK) && !rows[fsm.Code(i)] {
			t.Errorf("%s is not in the table of errors", name)
		}
	}
}

func TestSentences(t *testing.T) {
	op := &fsm.Op{Code: fsm.OpUnlock, Key: []byte("orders:42"), Fence: 5}
	billing := fsm.Party{Session: 7, SessionName: "billing-3", ClientName: "x", Addr: "1.2.3.4:5"}
	for _, tt := range []struct {
		code fsm.Code
		d    fsm.Detail
		want string
	}{
		{
			fsm.CodeNotOwner,
			fsm.Detail{Why: fsm.WhyOther, Holder: billing, Caller: 9},
			`NOTOWNER lock "orders:42" is held by session 7 (billing-3), not by session 9`,
		},
		{
			fsm.CodeNotOwner,
			fsm.Detail{Why: fsm.WhyFree, Caller: 9},
			`NOTOWNER lock "orders:42" is free: session 9 does not hold it`,
		},
		{
			fsm.CodeNotOwner,
			fsm.Detail{Why: fsm.WhyOtherFence, Fence: 6, Holder: billing, Caller: 7},
			`NOTOWNER lock "orders:42" is held with fence 6, not with fence 5`,
		},
		{
			fsm.CodeNotOwner,
			fsm.Detail{Why: fsm.WhyOther, Caller: 9},
			`NOTOWNER lock "orders:42" is held by no session (KEEP), not by session 9: name its FENCE`,
		},
		{
			fsm.CodeNotOwner,
			fsm.Detail{Why: fsm.WhyOther, Holder: fsm.Party{Session: 8, Owner: "w 1", Addr: "1.2.3.4:5"}, Caller: 8},
			`NOTOWNER lock "orders:42" is held by owner "w 1" of session 8 (1.2.3.4:5), not by session 8`,
		},
		{
			fsm.CodeLockLost,
			fsm.Detail{Why: fsm.WhyLeaseEnded, Fence: 5, Holder: billing},
			`LOCKLOST lock "orders:42" with fence 5 was lost: its lease ended; session 7 (billing-3) holds it now; stop the work that it guards`,
		},
		{
			fsm.CodeLockLimit,
			fsm.Detail{Why: fsm.WhyNone, Caller: 9, Number: 1},
			`LOCKLIMIT lock "orders:42" is held by session 9 as often as lock-acquire-limit allows (1): UNLOCK it first`,
		},
		{
			fsm.CodeDestroyed,
			fsm.Detail{Why: fsm.WhyDestroyed, Text: "moved"},
			`DESTROYED lock "orders:42" was destroyed (moved): nobody can take it before UNDESTROY`,
		},
		{
			fsm.CodeLimit,
			fsm.Detail{Why: fsm.WhyLimit, Number: 10, Text: "max-waiters"},
			`LIMIT max-waiters is 10 and it is reached: nothing was done; try again later, or raise it by CONFIG SET`,
		},
	} {
		word, sentence := phraseError(op, &fsm.Reply{Code: tt.code, Detail: &tt.d})
		if got := word + " " + sentence; got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}
