package options

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// WriteTOML writes the effective configuration as a file that --config takes,
// with the place where each value came from. Secrets are left out, defaults are
// comments.
func (c *Config) WriteTOML(w io.Writer) error {
	var b strings.Builder
	for _, group := range Groups() {
		fmt.Fprintf(&b, "# %s\n", group)
		for i := range table {
			o := &table[i]
			if o.Group == group && !o.FlagOnly {
				line, err := c.line(o)
				if err != nil {
					return fmt.Errorf("%s: %w", o.Name, err)
				}
				b.WriteString(line)
			}
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, strings.TrimSuffix(b.String(), "\n"))
	return err
}

func (c *Config) line(o *Option) (string, error) {
	v := o.bind(c)
	if o.Secret && v.String() != "" {
		return fmt.Sprintf("# %s is set, and not shown\n", o.Name), nil
	}
	var data any = v.String()
	switch v.Type() {
	case "addresses":
		data = strings.Split(v.String(), ",")
	case "yes/no":
		data = v.String() == "yes"
	case "number", "time", "size":
		n, err := strconv.ParseInt(v.String(), 10, 64)
		if err != nil {
			return "", err
		}
		data = n
	}
	line, err := toml.Marshal(map[string]any{o.Name: data})
	if origin := c.origins[o.Name]; origin.Layer == LayerDefault {
		// To give a default is more than to leave it: a node of one would listen for
		// peers, and propose all cluster settings at each start.
		line = append([]byte("# "), line...)
	} else if origin.Where != "" {
		line = fmt.Appendf(line[:len(line)-1], " # from %s\n", origin.Where)
	}
	return string(line), err
}

const pageHead = `<!-- Made from the option table by "make generate". Do not edit. -->

# Configuration

Each option can be given as a flag, as a variable of the environment, or as a
key in a file in TOML that --config names. A flag wins over the environment, the
environment over the file, the file over the default. A name that no option has
is an error in all three. ` + "`redlockd config`" + ` prints what is in force and where
each value came from.

- **time**: whole milliseconds (10000) or a number with a unit (10s, 500ms).
- **size**: bytes, or a number with kb, mb or gb (1kb is 1024 bytes).
- **addresses**: host:port or unix:/path; several are parted by commas, in a file
  they are a list, as flags one --listen each.
- **changes**: *start*: read once. *live*: CONFIG SET changes it on this node
  while it serves, until the next start. *cluster*: in the replicated state, one
  value for all nodes; CONFIG SET changes it, and a node that is started with it
  proposes it.

Variables that Kubernetes and Docker make for a service called redlockd
(REDLOCKD_SERVICE_HOST, REDLOCKD_PORT_7379_TCP and the like) are passed over.
`

// WritePage writes docs/configuration.md.
func WritePage(w io.Writer) error {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, group := range Groups() {
		fmt.Fprintf(&b, "\n## %s\n\n| flag and key | variable | type | default | changes | |\n|---|---|---|---|---|---|\n", group)
		for i := range table {
			if o := &table[i]; o.Group == group {
				b.WriteString(o.row())
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (o *Option) row() string {
	standard := "none"
	if o.Default != "" {
		standard = "`" + o.Default + "`"
	}
	changes := [...]string{ScopeStart: "start", ScopeLive: "live", ScopeCluster: "cluster"}[o.Scope]
	help := strings.ReplaceAll(o.Help, "*", `\*`)
	return fmt.Sprintf("| `--%s` | `%s` | %s | %s | %s | %s |\n", o.Name, o.Env(), o.Type(), standard, changes, help)
}
