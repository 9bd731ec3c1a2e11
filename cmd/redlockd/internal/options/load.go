package options

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"
)

// layer is what one place says, as text by option name.
type layer struct {
	kind   Layer
	values map[string]string
	where  func(name string) string
}

// Load puts the layers together: flags (made by Register, and parsed), the
// environment (as os.Environ gives it), the file that --config or
// REDLOCKD_CONFIG names, and the defaults. The first one that names an option
// wins. Errors name the place and the option, and say what to do.
func Load(flags *pflag.FlagSet, environ []string) (*Config, error) {
	given := flagLayer(flags)
	env, err := envLayer(environ)
	if err != nil {
		return nil, err
	}
	layers := []layer{env, given}
	if path, ok := firstOf("config", given, env); ok && path != "" {
		file, err := fileLayer(path)
		if err != nil {
			return nil, err
		}
		layers = []layer{file, env, given}
	}
	c := New()
	for _, l := range layers {
		if err := c.merge(l); err != nil {
			return nil, err
		}
	}
	if err := c.readPassword(); err != nil {
		return nil, err
	}
	return c, c.check()
}

func firstOf(name string, layers ...layer) (string, bool) {
	for _, l := range layers {
		if v, ok := l.values[name]; ok {
			return v, true
		}
	}
	return "", false
}

// merge sets what the layer names. It walks the table and not the map, so that
// of several mistakes always the same one is told.
func (c *Config) merge(l layer) error {
	for i := range table {
		o := &table[i]
		v, ok := l.values[o.Name]
		if !ok {
			continue
		}
		if err := o.bind(c).Set(v); err != nil {
			return fmt.Errorf("%s: %w", l.where(o.Name), err)
		}
		c.origins[o.Name] = Origin{l.kind, l.where(o.Name)}
	}
	return nil
}

func flagLayer(flags *pflag.FlagSet) layer {
	l := layer{LayerFlag, map[string]string{}, func(name string) string { return "--" + name }}
	flags.Visit(func(f *pflag.Flag) {
		if v, ok := f.Value.(*flagValue); ok {
			l.values[f.Name] = v.text
		}
	})
	return l
}

func envLayer(environ []string) (layer, error) {
	l := layer{LayerEnvironment, map[string]string{}, func(name string) string { return find(name).Env() }}
	known := map[string]string{}
	var all []string
	for i := range table {
		known[table[i].Env()] = table[i].Name
		all = append(all, table[i].Env())
	}
	for _, pair := range environ {
		key, v, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(key, envPrefix) || serviceLink(key) {
			continue
		}
		name, ok := known[key]
		if !ok {
			return l, fmt.Errorf("%s in the environment is no option of redlockd%s", key,
				didYouMean(key, all, "`redlockd help` lists them; unset it"))
		}
		l.values[name] = v
	}
	return l, nil
}

// serviceLink knows the variables that Kubernetes and Docker put into every
// container beside a service that is called redlockd: they are no mistake of
// anybody's, and none of them is an option.
func serviceLink(key string) bool {
	rest := strings.TrimPrefix(key, envPrefix)
	if rest == "PORT" || strings.HasPrefix(rest, "SERVICE_HOST") || strings.HasPrefix(rest, "SERVICE_PORT") {
		return true
	}
	port, ok := strings.CutPrefix(rest, "PORT_")
	return ok && port != "" && port[0] >= '0' && port[0] <= '9'
}

// fileLimit is far above any honest configuration file.
const fileLimit = 1 << 20

func fileLayer(path string) (layer, error) {
	l := layer{LayerFile, map[string]string{}, func(name string) string { return path + ": " + name }}
	data, err := readFile(path)
	if err != nil {
		return l, fmt.Errorf("the configuration file cannot be read: %w", err)
	}
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		var at *toml.DecodeError
		if errors.As(err, &at) {
			line, column := at.Position()
			return l, fmt.Errorf("%s, line %d, column %d: %w", path, line, column, err)
		}
		return l, fmt.Errorf("%s: %w", path, err)
	}
	for key, v := range tree {
		o := find(key)
		if o == nil || o.FlagOnly {
			return l, fmt.Errorf("%s: %q is no option that a file can set%s", path, key,
				didYouMean(key, Names(), "`redlockd help` lists them"))
		}
		text, err := tomlText(v)
		if err != nil {
			return l, fmt.Errorf("%s: %w", l.where(key), err)
		}
		l.values[key] = text
	}
	return l, nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > fileLimit {
		return nil, fmt.Errorf("%s has %d bytes, more than the %d allowed", path, info.Size(), fileLimit)
	}
	return os.ReadFile(path)
}

// tomlText brings a TOML value to the text that a flag would have.
func tomlText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case bool:
		return strconv.FormatBool(v), nil
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			s, err := tomlText(v[i])
			if err != nil {
				return "", err
			}
			parts[i] = s
		}
		return strings.Join(parts, ","), nil
	}
	return "", fmt.Errorf("%v must be a text in quotes, a whole number, true or false", v)
}

// readPassword fills RequirePass from its file.
func (c *Config) readPassword() error {
	if c.RequirePassFile == "" {
		return nil
	}
	if c.RequirePass != "" {
		return fmt.Errorf("%s and %s are both given: keep one",
			c.origins["requirepass"].Where, c.origins["requirepass-file"].Where)
	}
	data, err := readFile(c.RequirePassFile)
	if err != nil {
		return fmt.Errorf("%s: the password file cannot be read: %w", c.origins["requirepass-file"].Where, err)
	}
	lines := bufio.NewScanner(strings.NewReader(string(data)))
	lines.Buffer(nil, fileLimit+1)
	if !lines.Scan() || lines.Text() == "" {
		return fmt.Errorf("%s: the first line of %s is empty: put the password there",
			c.origins["requirepass-file"].Where, c.RequirePassFile)
	}
	c.RequirePass = lines.Text()
	return nil
}

// check looks at what no single option can see.
func (c *Config) check() error {
	if int64(len(c.RequirePass)) > c.AuthMaxBulk {
		return fmt.Errorf("the password has %d bytes, more than auth-max-bulk-size (%d) lets a client send: shorten it or raise that",
			len(c.RequirePass), c.AuthMaxBulk)
	}
	if err := c.checkCluster(); err != nil {
		return err
	}
	if !c.ProtectedMode || c.RequirePass != "" {
		return nil
	}
	listens := c.Listen
	if c.SentinelListen != "" {
		listens = append(slices.Clip(listens), c.SentinelListen)
	}
	for _, listen := range listens {
		a, err := ParseAddress(listen)
		if err != nil {
			return err
		}
		if !a.Local() {
			return fmt.Errorf("listening on %s without a password would open every lock to the network: "+
				"give --requirepass-file, listen on 127.0.0.1, or say --protected-mode=no if the network is closed otherwise", listen)
		}
	}
	return nil
}
