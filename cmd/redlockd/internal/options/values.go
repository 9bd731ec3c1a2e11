package options

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// Value is one typed value, as text on both sides.
type Value interface {
	Set(text string) error
	String() string
	// Type is the word for the manual and for --help: "time", "size", ...
	Type() string
}

// value makes a Value of a variable and the two directions of its text.
type value[T any] struct {
	p     *T
	kind  string
	parse func(string) (T, error)
	show  func(T) string
}

func (v value[T]) Set(s string) error {
	x, err := v.parse(s)
	if err != nil {
		return err
	}
	*v.p = x
	return nil
}

func (v value[T]) String() string { return v.show(*v.p) }
func (v value[T]) Type() string   { return v.kind }

func plain(s string) string { return s }

// text takes anything.
func text(p *string) Value {
	return value[string]{p, "text", func(s string) (string, error) { return s, nil }, plain}
}

// needed takes anything but nothing.
func needed(p *string, kind string) Value {
	return value[string]{p, kind, func(s string) (string, error) {
		if strings.TrimSpace(s) == "" {
			return "", fmt.Errorf("must not be empty: give a %s", kind)
		}
		return s, nil
	}, plain}
}

// name takes 1 to 64 printable characters, but those that part names in lists.
func name(p *string) Value {
	return value[string]{p, "name", func(s string) (string, error) {
		bad := func(r rune) bool { return r <= ' ' || r > '~' }
		if s == "" || len(s) > 64 || strings.IndexFunc(s, bad) >= 0 || strings.ContainsAny(s, ",=") {
			return "", fmt.Errorf("%q is not a name: use 1 to 64 printable characters without spaces, commas and =", s)
		}
		return s, nil
	}, plain}
}

// addresses takes a list parted by commas.
func addresses(p *[]string) Value {
	return value[[]string]{p, "addresses", func(s string) ([]string, error) {
		var list []string
		for one := range strings.SplitSeq(s, ",") {
			one = strings.TrimSpace(one)
			if one == "" {
				continue
			}
			if _, err := ParseAddress(one); err != nil {
				return nil, err
			}
			list = append(list, one)
		}
		if len(list) == 0 {
			return nil, errors.New("must name at least one address, such as 127.0.0.1:7379")
		}
		return list, nil
	}, func(list []string) string { return strings.Join(list, ",") }}
}

// address takes one TCP address.
func address(p *string) Value {
	return value[string]{p, "address", func(s string) (string, error) {
		a, err := ParseAddress(s)
		if err == nil && a.Network != "tcp" {
			err = fmt.Errorf("%q must be host:port", s)
		}
		return s, err
	}, plain}
}

// maybeAddress is address, or nothing.
func maybeAddress(p *string) Value {
	v := address(p).(value[string])
	parse := v.parse
	v.parse = func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		return parse(s)
	}
	return v
}

// reachable takes an address that others can connect to, or nothing.
func reachable(p *string) Value {
	return value[string]{p, "address", func(s string) (string, error) {
		if s == "" {
			return "", nil
		}
		return s, checkReachable(s)
	}, plain}
}

// peers takes a list of addresses that others can connect to, or nothing.
func peers(p *[]string) Value {
	return value[[]string]{p, "addresses", func(s string) ([]string, error) {
		var list []string
		for one := range strings.SplitSeq(s, ",") {
			if one = strings.TrimSpace(one); one == "" {
				continue
			}
			if err := checkReachable(one); err != nil {
				return nil, err
			}
			list = append(list, one)
		}
		return list, nil
	}, func(list []string) string { return strings.Join(list, ",") }}
}

// nodes takes n1=host:port,n2=host:port, or nothing.
func nodes(p *[]Peer) Value {
	return value[[]Peer]{p, "nodes", parsePeers, func(list []Peer) string {
		parts := make([]string, len(list))
		for i, n := range list {
			parts[i] = n.ID + "=" + n.Addr
		}
		return strings.Join(parts, ",")
	}}
}

// yesNo takes the words of Redis, and those of TOML.
func yesNo(p *bool) Value {
	return value[bool]{p, "yes/no", func(s string) (bool, error) {
		switch strings.ToLower(s) {
		case "yes", "true", "on", "1":
			return true, nil
		case "no", "false", "off", "0":
			return false, nil
		}
		return false, fmt.Errorf("%q must be yes or no", s)
	}, func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}}
}

// choice takes one of the words.
func choice(p *string, words ...string) Value {
	return value[string]{p, strings.Join(words, "/"), func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", fmt.Errorf("%q must be one of %s", s, strings.Join(words, ", "))
		}
		return s, nil
	}, plain}
}

// count takes a whole number within a range.
func count(p *int64, low, high int64) Value {
	return value[int64]{p, "number", func(s string) (int64, error) {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < low || n > high {
			return 0, fmt.Errorf("%q must be a whole number from %d to %d", s, low, high)
		}
		return n, nil
	}, func(n int64) string { return strconv.FormatInt(n, 10) }}
}

// size takes bytes, or a number with a unit as Redis reads them (1kb is 1024).
func size(p *int64, low, high int64) Value {
	return value[int64]{p, "size", func(s string) (int64, error) {
		n, ok := parseSize(s)
		if !ok || n < low || n > high {
			return 0, fmt.Errorf("%q must be a size from %d to %d bytes: write bytes, or a number with kb, mb or gb", s, low, high)
		}
		return n, nil
	}, func(n int64) string { return strconv.FormatInt(n, 10) }}
}

func parseSize(s string) (int64, bool) {
	s = strings.ToLower(s)
	unit := int64(1)
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"kb", 1 << 10}, {"mb", 1 << 20}, {"gb", 1 << 30}, {"b", 1}} {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			s, unit = rest, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > 1<<50/unit {
		return 0, false
	}
	return n * unit, true
}

// span takes a time within a range: whole milliseconds, or a Go duration.
func span(p *time.Duration, low, high time.Duration) Value {
	return value[time.Duration]{p, "time", func(s string) (time.Duration, error) {
		return parseSpan(s, low, high)
	}, showSpan}
}

// seconds is span for what the operating system keeps in whole seconds.
func seconds(p *time.Duration, low, high time.Duration) Value {
	return value[time.Duration]{p, "time", func(s string) (time.Duration, error) {
		d, err := parseSpan(s, low, high)
		if err == nil && d%time.Second != 0 {
			err = fmt.Errorf("%q must be whole seconds", s)
		}
		return d, err
	}, showSpan}
}

// maxSpan is the longest time that any option takes.
const maxSpan = 1 << 40 * time.Millisecond

func parseSpan(s string, low, high time.Duration) (time.Duration, error) {
	var d time.Duration
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil && ms >= 0 && ms <= maxSpan.Milliseconds() {
		d = time.Duration(ms) * time.Millisecond
	} else if d, err = time.ParseDuration(s); err != nil || d%time.Millisecond != 0 {
		return 0, fmt.Errorf("%q is not a time: write whole milliseconds (10000) or a number with a unit (10s, 500ms)", s)
	}
	if d < low || d > high {
		return 0, fmt.Errorf("%q must be from %v to %v", s, low, high)
	}
	return d, nil
}

func showSpan(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// setting is a cluster setting. The machine knows what it means, and says here
// what is wrong with it, so that a slip is told before the node starts.
type setting struct {
	c    *Config
	name string
	kind string
}

func (s setting) Set(text string) error {
	if s.kind == "time" {
		d, err := parseSpan(text, 0, maxSpan)
		if err != nil {
			return err
		}
		text = showSpan(d)
	}
	if err := fsm.CheckSetting(s.name, text); err != nil {
		return fmt.Errorf("%q is refused: %w", text, err)
	}
	s.c.cluster[s.name] = text
	return nil
}

func (s setting) String() string { return s.c.cluster[s.name] }
func (s setting) Type() string   { return s.kind }
