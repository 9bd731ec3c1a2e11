package options

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// flagValue keeps what the command line said, checked but not yet applied: the
// layers are put together by Load.
type flagValue struct {
	option *Option
	text   string
	given  bool
}

func (f *flagValue) Set(s string) error {
	if err := f.option.bind(New()).Set(s); err != nil {
		return err
	}
	if f.given && f.repeatable() {
		s = f.text + "," + s
	}
	f.text, f.given = s, true
	return nil
}

func (f *flagValue) repeatable() bool {
	return f.option.Type() == "addresses" || f.option.Type() == "nodes"
}
func (f *flagValue) String() string { return f.text }
func (f *flagValue) Type() string   { return f.option.Type() }

// Register adds the flags of one group to a set.
func Register(flags *pflag.FlagSet, group string) {
	for i := range table {
		o := &table[i]
		if o.Group != group {
			continue
		}
		flags.Var(&flagValue{option: o, text: o.Default}, o.Name, o.Help)
		flags.Lookup(o.Name).NoOptDefVal = o.Bare
	}
}

// UnknownFlag puts the nearest flag into the error of one that does not exist.
func UnknownFlag(err error, name string) error {
	candidates := Names()
	for i := range candidates {
		candidates[i] = "--" + candidates[i]
	}
	return fmt.Errorf("%w%s", err, didYouMean("--"+strings.TrimLeft(name, "-"), candidates, "`redlockd help` lists the flags"))
}
