package commands

import "slices"

// This file has COMMAND and its subcommands.

func runCommand(c *client, _ [][]byte) {
	specs := c.h.table.listed()
	w := c.rc.Begin()
	w.Array(len(specs))
	for _, s := range specs {
		writeInfo(w, s)
	}
	c.rc.End(0)
}

func runCommandCount(c *client, _ [][]byte) { c.integer(int64(len(c.h.table.listed()))) }

func runCommandInfo(c *client, args [][]byte) {
	if len(args) == 2 {
		runCommand(c, args)
		return
	}
	w := c.rc.Begin()
	w.Array(len(args) - 2)
	for _, name := range args[2:] {
		if s := c.h.table.byName(name); s != nil {
			writeInfo(w, s)
		} else {
			w.Null()
		}
	}
	c.rc.End(0)
}

func runCommandDocs(c *client, args [][]byte) {
	specs := c.h.table.listed()
	if len(args) > 2 {
		specs = specs[:0:0]
		for _, name := range args[2:] {
			if s := c.h.table.byName(name); s != nil {
				specs = append(specs, s)
			}
		}
	}
	w := c.rc.Begin()
	w.Map(len(specs))
	for _, s := range specs {
		w.BulkString(s.full)
		writeDocs(w, s)
	}
	c.rc.End(0)
}

// runCommandList reads COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern].
func runCommandList(c *client, args [][]byte) {
	wanted := func(*Spec) bool { return true }
	if len(args) > 2 {
		if len(args) != 5 || !isWord(args[2], "FILTERBY") {
			c.failed(syntaxError)
			return
		}
		value := string(args[4])
		switch {
		case isWord(args[3], "MODULE"):
			wanted = func(*Spec) bool { return false }
		case isWord(args[3], "ACLCAT"):
			wanted = func(s *Spec) bool { return slices.Contains(s.categories(), lowerWord(value)) }
		case isWord(args[3], "PATTERN") && len(value) <= maxPattern:
			wanted = func(s *Spec) bool { return globMatch(value, s.full) }
		default:
			c.failed(syntaxError)
			return
		}
	}
	var names []string
	c.h.table.Specs(func(s *Spec) bool {
		if wanted(s) {
			names = append(names, s.full)
		}
		return true
	})
	w := c.rc.Begin()
	w.Array(len(names))
	for _, name := range names {
		w.BulkString(name)
	}
	c.rc.End(0)
}

func runCommandGetKeys(c *client, args [][]byte) {
	if s := c.keyed(args[2:]); s != nil {
		w := c.rc.Begin()
		w.Array(1)
		w.Bulk(args[3])
		c.rc.End(0)
	}
}

func runCommandGetKeysAndFlags(c *client, args [][]byte) {
	if s := c.keyed(args[2:]); s != nil {
		w := c.rc.Begin()
		w.Array(1)
		w.Array(2)
		w.Bulk(args[3])
		simpleSet(w, s.Key.flags())
		c.rc.End(0)
	}
}

// keyed finds the command of a line that has a key; else it answers why not.
func (c *client) keyed(line [][]byte) *Spec {
	s := find(c.h.table.byWord, line[0])
	if s != nil && len(s.Subs) > 0 {
		s = find(s.subs, line[1])
	}
	switch {
	case s == nil || s.Flags&Hidden != 0:
		c.failed("ERR Invalid command specified")
	case s.Key == KeyNone:
		c.failed("ERR The command has no key arguments")
	case !s.takes(len(line)):
		c.failed("ERR Invalid number of arguments specified for command")
	default:
		return s
	}
	return nil
}
