package commands

// This file has XXX HELP for every container command.

// helpSpec makes the HELP subcommand of a container.
func helpSpec(container *Spec) *Spec {
	return &Spec{
		Name:       "help",
		Arity:      2,
		Flags:      Loading | Stale,
		Categories: container.Categories,
		Complexity: "O(1)",
		Summary:    "Lists the subcommands of this command",
		Replies:    []Shape{array("of lines of text")},
		Example:    "> " + container.upper + " HELP\n1) " + container.upper + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\n ...",
		run:        func(c *client, _ [][]byte) { c.help(container) },
	}
}

func (c *client) help(container *Spec) {
	lines := helpLines(container)
	w := c.rc.Begin()
	w.Array(len(lines))
	for _, line := range lines {
		w.Simple(line)
	}
	c.rc.End(0)
}

// helpLines are laid out as Redis's.
func helpLines(container *Spec) []string {
	lines := []string{container.upper + " <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"}
	if container.run != nil {
		lines = append(lines, "(no subcommand)", "    "+container.Summary+".")
	}
	for _, s := range container.Subs {
		if s.Name == "help" {
			lines = append(lines, "HELP", "    Prints this help.")
			continue
		}
		lines = append(lines, s.Syntax()[len(container.upper)+1:], "    "+s.Summary+".")
	}
	return lines
}
