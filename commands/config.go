package commands

import (
	"errors"
	"slices"
	"strings"

	"github.com/redlockd/redlockd/fsm"
)

// This file has CONFIG. The cluster's settings are in the state and change by
// an entry; the node's own belong to the process; a few names exist only
// because clients ask for them.

// stockSettings are what client libraries read after they connect.
func stockSettings() [][2]string { return [][2]string{{"databases", "1"}} }

// setting reads one setting, whoever owns it.
func (h *Handler) setting(name string) (string, bool) {
	if v, ok := h.o.State.Setting(name); ok {
		return v, true
	}
	if v, ok := h.o.Settings.Get(name); ok {
		return v, true
	}
	for _, s := range stockSettings() {
		if s[0] == name {
			return s[1], true
		}
	}
	return "", false
}

// settingNames lists all settings: the cluster's, the node's, the rest.
func (h *Handler) settingNames() []string {
	names := slices.Concat(fsm.SettingNames(), h.o.Settings.List())
	for _, s := range stockSettings() {
		if !slices.Contains(names, s[0]) {
			names = append(names, s[0])
		}
	}
	return names
}

func runConfigGet(c *client, args [][]byte) {
	var pairs []string
	for _, name := range c.h.settingNames() {
		wanted := slices.ContainsFunc(args[2:], func(pattern []byte) bool {
			return len(pattern) <= maxPattern && globMatch(string(pattern), name)
		})
		if !wanted {
			continue
		}
		if value, ok := c.h.setting(name); ok {
			pairs = append(pairs, name, value)
		}
	}
	w := c.rc.Begin()
	w.Map(len(pairs) / 2)
	for _, s := range pairs {
		w.BulkString(s)
	}
	c.rc.End(0)
}

func isClusterSetting(name string) bool { return slices.Contains(fsm.SettingNames(), name) }

// runConfigSet changes one cluster setting, or any number of the node's, of
// those all or none.
func runConfigSet(c *client, args [][]byte) {
	pairs := args[2:]
	if len(pairs)%2 != 0 {
		c.failed(syntaxError)
		return
	}
	names := make([]string, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name := strings.ToLower(string(pairs[i]))
		if _, ok := c.h.setting(name); !ok {
			c.failed(unknownSetting(string(pairs[i])))
			return
		}
		if slices.Contains(names, name) {
			c.failed(badSetting(name, "duplicate parameter"))
			return
		}
		names = append(names, name)
	}
	cluster := slices.IndexFunc(names, isClusterSetting)
	switch {
	case cluster < 0:
		c.setNodeSettings(names, pairs)
	case len(names) > 1:
		c.failed(badSetting(names[cluster], "a setting of the cluster is set by a CONFIG SET of its own"))
	default:
		c.op = fsm.Op{Code: fsm.OpConfigSet, Name: []byte(names[0]), Value: pairs[1]}
		c.do(c.last.Load())
	}
}

func (c *client) setNodeSettings(names []string, pairs [][]byte) {
	old := make([]string, 0, len(names))
	for i, name := range names {
		was, owned := c.h.o.Settings.Get(name)
		err := ErrImmutable
		if owned {
			err = c.h.o.Settings.Set(name, string(pairs[2*i+1]))
		}
		if err == nil {
			old = append(old, was)
			continue
		}
		for j, value := range slices.Backward(old) { // all or none; one may allow the next
			err = errors.Join(err, c.h.o.Settings.Set(names[j], value))
		}
		c.failed(badSetting(name, err.Error()))
		return
	}
	c.h.o.Logger.Info("settings changed", "names", names, "by", c.rc.RemoteAddr())
	c.ok()
}
