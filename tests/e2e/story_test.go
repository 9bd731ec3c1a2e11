package e2e

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/redlockd/redlockd/tests/harness"
)

// A story is a file of testdata/stories: what connections say, and what they are answered.
//
//	a: LOCK @k -> :$f          connection a (opened at its first use) says it and is answered like this
//	b! LOCK @k                 b says it and waits
//	until a: LOCKINFO @k -> {waiters=:1 ...}    a asks until it is answered like this
//	b< :>$f                    b is answered now
//	close a                    a goes away
//	closed b                   the server has closed b
//	only resp2 resp3           (first lines) not through the other clients: for what go-redis does by itself
//	server --flag value        (first lines) on a server of its own, with these flags
//	server alone --flag value  ... and without a port for peers
//	# comment
//
// @ is replaced by a text of this run of the story, so stories share a server; $x in a command by its value.
type story struct {
	only   []string // drivers; none: all
	server []string // flags of its own server
	alone  bool     // that server has no port for peers
	steps  []step
}

type step struct {
	line int
	text string // for messages
	verb verb
	peer string
	args []string
	want pattern
}

type verb int

const (
	verbDo verb = iota
	verbSend
	verbReceive
	verbUntil
	verbClose
	verbClosed
)

func readStory(path, unique string) (*story, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() // only read
	s := &story{}
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		if err := s.add(n, strings.ReplaceAll(text, "@", unique)); err != nil {
			return nil, fmt.Errorf("%s:%d: %s: %w", path, n, text, err)
		}
	}
	return s, lines.Err()
}

func (s *story) add(n int, text string) error {
	st := step{line: n, text: text}
	first, rest, _ := strings.Cut(text, " ")
	switch {
	case first == "only":
		s.only = strings.Fields(rest)
		return nil
	case first == "server":
		s.server = strings.Fields(rest)
		if s.alone = len(s.server) > 0 && s.server[0] == "alone"; s.alone {
			s.server = s.server[1:]
		}
		return nil
	case first == "close":
		st.verb, st.peer = verbClose, rest
	case first == "closed":
		st.verb, st.peer = verbClosed, rest
	case first == "until":
		st.verb = verbUntil
		first, rest, _ = strings.Cut(rest, " ")
		st.peer = strings.TrimSuffix(first, ":")
	case strings.HasSuffix(first, ":"):
		st.peer = strings.TrimSuffix(first, ":")
	case strings.HasSuffix(first, "!"):
		st.verb, st.peer = verbSend, strings.TrimSuffix(first, "!")
	case strings.HasSuffix(first, "<"):
		st.verb, st.peer = verbReceive, strings.TrimSuffix(first, "<")
		rest = "-> " + rest
	default:
		return fmt.Errorf("no step starts like this")
	}
	if err := st.parse(rest); err != nil {
		return err
	}
	s.steps = append(s.steps, st)
	return nil
}

// parse reads the command and the pattern of a step.
func (st *step) parse(rest string) error {
	if st.verb == verbClose || st.verb == verbClosed {
		return nil
	}
	command, want, answered := strings.Cut(" "+rest, " -> ")
	var err error
	if st.args, err = splitWords(command); err != nil {
		return err
	}
	if answered != (st.verb != verbSend) || (len(st.args) == 0) != (st.verb == verbReceive) {
		return fmt.Errorf("want `peer: command -> pattern`, `peer! command` or `peer< pattern`")
	}
	if answered {
		st.want, err = parsePattern(want)
	}
	return err
}

// splitWords splits a command at spaces; "quoted words" may hold spaces and Go's escapes.
func splitWords(text string) ([]string, error) {
	var words []string
	for {
		text = strings.TrimLeft(text, " ")
		if text == "" {
			return words, nil
		}
		if text[0] == '"' {
			quoted, err := strconv.QuotedPrefix(text)
			if err != nil {
				return nil, err
			}
			word, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, err
			}
			words, text = append(words, word), text[len(quoted):]
			continue
		}
		word, rest, _ := strings.Cut(text, " ")
		words, text = append(words, word), rest
	}
}

// play runs a story against a server.
func (s *story) play(t *testing.T, addr string, via driver) {
	vars := map[string]string{}
	peers := map[string]peer{}
	for _, st := range s.steps {
		p, ok := peers[st.peer]
		if !ok {
			p = via(t, addr)
			peers[st.peer] = p
		}
		if why := st.play(p, vars); why != "" {
			t.Fatalf("line %d: %s\n%s", st.line, st.text, why)
		}
		if st.verb == verbClose || st.verb == verbClosed {
			delete(peers, st.peer) // the next use of the name is a new connection
		}
	}
}

func (st *step) play(p peer, vars map[string]string) string {
	args := make([]string, len(st.args))
	for i, arg := range st.args {
		args[i] = arg
		if name, ok := strings.CutPrefix(arg, "$"); ok {
			args[i] = vars[name]
		}
	}
	switch st.verb {
	case verbClose:
		p.close()
		return ""
	case verbClosed:
		return p.awaitClose()
	case verbUntil:
		why := ""
		if !harness.Poll(harness.Patience, func() bool {
			p.send(args)
			why = st.check(p, vars)
			return why == ""
		}) {
			return why
		}
		return ""
	case verbDo, verbSend:
		p.send(args)
	}
	if st.verb == verbSend {
		return ""
	}
	return st.check(p, vars)
}

func (st *step) check(p peer, vars map[string]string) string {
	v, err := p.receive()
	if err != nil {
		return err.Error()
	}
	return st.want.match(v, vars)
}
