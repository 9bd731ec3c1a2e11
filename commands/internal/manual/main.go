// Command manual writes docs/commands.md from the table of commands. It is run
// by go generate in the folder commands.
package main

import (
	"fmt"
	"os"

	"github.com/redlockd/redlockd/commands"
)

func main() {
	if err := os.WriteFile("../docs/commands.md", commands.Manual(), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "writing the manual:", err)
		os.Exit(1)
	}
}
