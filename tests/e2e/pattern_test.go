package e2e

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/redlockd/redlockd/tests/harness"
)

// A pattern is what a story expects of a reply:
//
//	:5  :*  :$f  :>$f  :>0  :1..10   an integer; $f is bound at its first use and the same from then on
//	+OK                              a simple or bulk string, exactly
//	"glob*"  "$x"                    a string; * stands for anything
//	-CODE glob*                      an error; must be the last of its line
//	[p p]  [p p ...]                 an array, set or push; ... for any further items
//	{k=p k=p}  {k=p ...}             a map, or the flat array for one in RESP2, in any order
//	_                                null
//	*                                anything
//	a|b                              one of two (no spaces in them)
type pattern interface {
	// match returns "" or why the value does not match.
	match(v harness.Value, vars map[string]string) string
}

type (
	anyPattern   struct{}
	nullPattern  struct{}
	intPattern   struct{ text string }
	textPattern  struct{ glob string }
	errorPattern struct{ glob string }
	arrayPattern struct {
		items []pattern
		open  bool
	}
	mapPattern struct {
		keys   []string
		fields map[string]pattern
		open   bool
	}
	eitherPattern struct{ options []pattern }
)

func (anyPattern) match(harness.Value, map[string]string) string { return "" }

func (nullPattern) match(v harness.Value, _ map[string]string) string {
	return unless(v.Kind == harness.Null, v, "null")
}

// unless returns "" where ok, else what was wanted.
func unless(ok bool, got harness.Value, want string) string {
	if ok {
		return ""
	}
	return fmt.Sprintf("got %v, want %s", got, want)
}

func (p intPattern) match(v harness.Value, vars map[string]string) string {
	if v.Kind != harness.Int {
		return unless(false, v, "integer :"+p.text)
	}
	if name, ok := strings.CutPrefix(p.text, "$"); ok {
		return bind(name, strconv.FormatInt(v.Int, 10), v, vars)
	}
	if p.text == "*" {
		return ""
	}
	if bound, ok := strings.CutPrefix(p.text, ">"); ok {
		return unless(v.Int > number(bound, vars), v, "more than "+bound)
	}
	if from, to, ok := strings.Cut(p.text, ".."); ok {
		return unless(v.Int >= number(from, vars) && v.Int <= number(to, vars), v, ":"+p.text)
	}
	return unless(v.Int == number(p.text, vars), v, ":"+p.text)
}

func bind(name, value string, got harness.Value, vars map[string]string) string {
	bound, ok := vars[name]
	if !ok {
		vars[name] = value
		return ""
	}
	return unless(bound == value, got, fmt.Sprintf("$%s, which is %s", name, bound))
}

// number reads an integer of a pattern; one that is none is a mistake in the story.
func number(text string, vars map[string]string) int64 {
	if name, ok := strings.CutPrefix(text, "$"); ok {
		text = vars[name]
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(fmt.Sprintf("pattern %q: %v", text, err))
	}
	return n
}

func (p textPattern) match(v harness.Value, vars map[string]string) string {
	if v.Kind != harness.Simple && v.Kind != harness.Bulk && v.Kind != harness.Verbatim {
		return unless(false, v, strconv.Quote(p.glob))
	}
	text := v.Text
	if v.Kind == harness.Verbatim {
		text = strings.TrimPrefix(text, "txt:")
	}
	if name, ok := strings.CutPrefix(p.glob, "$"); ok {
		return bind(name, text, v, vars)
	}
	return unless(glob(p.glob, text), v, strconv.Quote(p.glob))
}

func (p errorPattern) match(v harness.Value, _ map[string]string) string {
	return unless(v.Kind == harness.Error && glob(p.glob, v.Text), v, "-"+p.glob)
}

// glob matches a text in which * stands for anything.
func glob(pattern, text string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	for {
		part, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(text, part)
		}
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text, rest = text[i+len(part):], more
	}
}

func (p arrayPattern) match(v harness.Value, vars map[string]string) string {
	if v.Kind != harness.Array && v.Kind != harness.Set && v.Kind != harness.Push {
		return unless(false, v, "an array")
	}
	if len(v.Items) < len(p.items) || !p.open && len(v.Items) > len(p.items) {
		return unless(false, v, fmt.Sprintf("%d items", len(p.items)))
	}
	for i, item := range p.items {
		if why := item.match(v.Items[i], vars); why != "" {
			return fmt.Sprintf("item %d: %s", i+1, why)
		}
	}
	return ""
}

func (p mapPattern) match(v harness.Value, vars map[string]string) string {
	if v.Kind != harness.Map && v.Kind != harness.Array || len(v.Items)%2 != 0 {
		return unless(false, v, "a map")
	}
	if !p.open && len(v.Items) != 2*len(p.keys) {
		return unless(false, v, "exactly the fields "+strings.Join(p.keys, ", "))
	}
	for _, key := range p.keys {
		field, ok := v.Field(key)
		if !ok {
			return unless(false, v, "a field "+key)
		}
		if why := p.fields[key].match(field, vars); why != "" {
			return fmt.Sprintf("field %s: %s", key, why)
		}
	}
	return ""
}

func (p eitherPattern) match(v harness.Value, vars map[string]string) string {
	why := ""
	for _, option := range p.options {
		if why = option.match(v, vars); why == "" {
			return ""
		}
	}
	return why
}

// parsePattern reads a whole pattern.
func parsePattern(text string) (pattern, error) {
	if rest, ok := strings.CutPrefix(text, "-"); ok {
		return errorPattern{rest}, nil
	}
	p, rest, err := parseOne(strings.TrimSpace(text))
	if err == nil && strings.TrimSpace(rest) != "" {
		err = fmt.Errorf("%q is left over", rest)
	}
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", text, err)
	}
	return p, nil
}

// parseOne reads the first pattern of a text and returns the rest of it.
func parseOne(text string) (pattern, string, error) {
	p, rest, err := parseSingle(text)
	for err == nil && strings.HasPrefix(rest, "|") {
		var other pattern
		if other, rest, err = parseSingle(rest[1:]); err == nil {
			p = eitherPattern{[]pattern{p, other}}
		}
	}
	return p, rest, err
}

func parseSingle(text string) (pattern, string, error) {
	if text == "" {
		return nil, "", fmt.Errorf("a pattern is missing")
	}
	switch text[0] {
	case '*':
		return anyPattern{}, text[1:], nil
	case '_':
		return nullPattern{}, text[1:], nil
	case '[':
		return parseArray(text[1:])
	case '{':
		return parseMap(text[1:])
	case '"':
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return nil, "", err
		}
		inner, err := strconv.Unquote(quoted)
		return textPattern{inner}, text[len(quoted):], err
	case ':', '+':
		end := strings.IndexAny(text, " ]}|")
		if end < 0 {
			end = len(text)
		}
		if text[0] == ':' {
			return intPattern{text[1:end]}, text[end:], nil
		}
		return textPattern{text[1:end]}, text[end:], nil
	}
	return nil, "", fmt.Errorf("no pattern starts like %q", text)
}

func parseArray(text string) (pattern, string, error) {
	var p arrayPattern
	for {
		text = strings.TrimLeft(text, " ")
		if rest, ok := strings.CutPrefix(text, "]"); ok {
			return p, rest, nil
		}
		if rest, ok := strings.CutPrefix(text, "..."); ok {
			p.open, text = true, rest
			continue
		}
		item, rest, err := parseOne(text)
		if err != nil {
			return nil, "", err
		}
		p.items, text = append(p.items, item), rest
	}
}

func parseMap(text string) (pattern, string, error) {
	p := mapPattern{fields: map[string]pattern{}}
	for {
		text = strings.TrimLeft(text, " ")
		if rest, ok := strings.CutPrefix(text, "}"); ok {
			return p, rest, nil
		}
		if rest, ok := strings.CutPrefix(text, "..."); ok {
			p.open, text = true, rest
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, "", fmt.Errorf("a map needs key=pattern at %q", text)
		}
		field, rest, err := parseOne(value)
		if err != nil {
			return nil, "", err
		}
		p.keys, p.fields[key], text = append(p.keys, key), field, rest
	}
}
