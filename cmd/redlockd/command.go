package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/redlockd/redlockd/cmd/redlockd/internal/options"
)

const (
	summary = "A durable lock server that speaks the Redis protocol"
	long    = summary + `.

Without a command it serves. Every option below is also a variable of the
environment (--data-dir is REDLOCKD_DATA_DIR) and a key in the file that --config
names; a flag wins over the environment, the environment over the file. Times are
whole milliseconds or have a unit: 10000 is 10s.`
	examples = `  redlockd                                  serve on 127.0.0.1:7379, data in ./redlockd-data
  redlockd --listen 127.0.0.1:7379 --listen unix:/run/redlockd.sock
  redlockd --config /etc/redlockd.toml
  redis-cli -p 7379 LOCK orders:42`
)

// newCommand builds the tree of commands. environ is looked at when one runs.
func newCommand(environ []string, stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use: "redlockd", Short: summary, Long: long, Example: examples,
		Version:       version,
		SilenceErrors: true, SilenceUsage: true,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := options.Load(c.Flags(), environ)
			if err != nil {
				return err
			}
			return serve(c.Context(), cfg, stderr)
		},
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetVersionTemplate(versionLine() + "\n")
	show := &cobra.Command{
		Use: "config", Short: "Print the configuration in force, and where each value came from", Args: cobra.NoArgs,
		Long: "Print the configuration that the same flags, environment and file would start the server with.\nThe output is a file that --config takes: passwords are left out, and defaults are comments.",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := options.Load(c.Flags(), environ)
			if err != nil {
				return err
			}
			return cfg.WriteTOML(c.OutOrStdout())
		},
	}
	seed := newRestore(environ)
	root.AddCommand(newStatus(environ), newBackup(environ), seed, show, &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), versionLine())
			return err
		},
	})
	for _, c := range []*cobra.Command{root, show, seed} {
		addOptions(c)
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		var unknown *pflag.NotExistError
		if errors.As(err, &unknown) {
			return options.UnknownFlag(err, unknown.GetSpecifiedName())
		}
		return err
	})
	return root
}

// addOptions gives the command every option as a flag, shown group by group.
func addOptions(c *cobra.Command) {
	var groups []*pflag.FlagSet
	for _, group := range options.Groups() {
		flags := pflag.NewFlagSet(group, pflag.ContinueOnError)
		flags.SortFlags = false
		options.Register(flags, group)
		groups = append(groups, flags)
		c.Flags().AddFlagSet(flags)
	}
	completeValues(c)
	standard := c.UsageFunc()
	c.SetUsageFunc(func(called *cobra.Command) error {
		if called != c { // subcommands inherit this, and have no options of ours
			return standard(called)
		}
		var b strings.Builder
		fmt.Fprintf(&b, "Usage:\n  %s\n", called.UseLine())
		if called.HasAvailableSubCommands() {
			fmt.Fprintf(&b, "  %s [command]\n\nCommands:\n", called.CommandPath())
			for _, sub := range called.Commands() {
				if sub.IsAvailableCommand() {
					fmt.Fprintf(&b, "  %-12s %s\n", sub.Name(), sub.Short)
				}
			}
		}
		if called.HasExample() {
			fmt.Fprintf(&b, "\nExamples:\n%s\n", called.Example)
		}
		for i, group := range options.Groups() {
			fmt.Fprintf(&b, "\n%s:\n%s", group, groups[i].FlagUsagesWrapped(110))
		}
		fmt.Fprintf(&b, "\nOther flags:\n  -h, --help      this text\n")
		if called.Version != "" {
			b.WriteString("  -v, --version   the version\n")
		}
		_, err := io.WriteString(called.OutOrStderr(), b.String())
		return err
	})
}

// completeValues tells the shell what may stand behind a flag.
func completeValues(c *cobra.Command) {
	for _, o := range options.Table() {
		var complete cobra.CompletionFunc
		switch {
		case strings.HasSuffix(o.Name, "-dir"):
			complete = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
				return nil, cobra.ShellCompDirectiveFilterDirs
			}
		case o.Name == "config" || strings.HasSuffix(o.Name, "-file"):
			continue // the shell's own completion of files
		case strings.Contains(o.Type(), "/"):
			complete = cobra.FixedCompletions(strings.Split(o.Type(), "/"), cobra.ShellCompDirectiveNoFileComp)
		default:
			complete = cobra.NoFileCompletions
		}
		if err := c.RegisterFlagCompletionFunc(o.Name, complete); err != nil {
			panic(err) // the flag is not registered: a bug in addOptions
		}
	}
}
