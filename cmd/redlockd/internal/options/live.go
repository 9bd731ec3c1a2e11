package options

import (
	"errors"
	"fmt"
	"sync"
)

// Live is the configuration of a node that serves: CONFIG GET reads it, CONFIG
// SET changes what may change. It is safe for concurrent use. Cluster settings
// are not in it: their values are the machine's.
type Live struct {
	mu    sync.Mutex
	now   *Config
	apply func(*Config)
}

// The reasons why a Set is refused besides a bad value.
var (
	// ErrUnknown: no option has that name.
	ErrUnknown = errors.New("no such option")
	// ErrStart: the option is read once, when the node starts.
	ErrStart = errors.New("it can be set only when the node starts")
	// ErrCluster: the option is a cluster setting; it changes by an entry.
	ErrCluster = errors.New("it is a cluster setting")
)

// NewLive returns a Live over c. apply is called, in the order of the changes
// and never concurrently, with each new configuration; it must not write to it.
func NewLive(c *Config, apply func(*Config)) *Live {
	return &Live{now: c, apply: apply}
}

// Config returns the configuration of now. It must not be written to.
func (l *Live) Config() *Config {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// List names this node's options.
func (l *Live) List() []string {
	var names []string
	for i := range table {
		if table[i].Scope != ScopeCluster {
			names = append(names, table[i].Name)
		}
	}
	return names
}

// Get returns the value of one of this node's options, as CONFIG GET shows it:
// times in ms, sizes in bytes. ok is false for unknown names and for cluster
// settings.
func (l *Live) Get(name string) (text string, ok bool) {
	o := find(name)
	if o == nil || o.Scope == ScopeCluster {
		return "", false
	}
	return o.bind(l.Config()).String(), true
}

// Set changes one of this node's options. An error says what is wrong, without
// the name.
func (l *Live) Set(name, text string) error {
	o := find(name)
	switch {
	case o == nil:
		return fmt.Errorf("%w%s", ErrUnknown, didYouMean(name, Names(), "CONFIG GET * lists them"))
	case o.Scope == ScopeCluster:
		return ErrCluster
	case o.Scope == ScopeStart:
		return ErrStart
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.now.clone()
	if err := o.bind(next).Set(text); err != nil {
		return err
	}
	next.origins[name] = Origin{LayerLive, "CONFIG SET " + name}
	if err := next.check(); err != nil {
		return err
	}
	l.now = next
	l.apply(next)
	return nil
}
