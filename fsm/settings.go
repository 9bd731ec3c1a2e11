package fsm

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redlockd/redlockd/internal/canary"
)

// Setting names, as CONFIG GET and CONFIG SET spell them. These are cluster
// settings: they live in the state and change by an entry.
const (
	SettingSessionTimeout  = "session-timeout"       // ms
	SettingAcquireLimit    = "lock-acquire-limit"    // n, or glob=n pairs
	SettingFenceFloor      = "fence-floor"           // only upwards
	SettingMaxSessions     = "max-sessions"          // sessions, named and anonymous
	SettingMaxHolds        = "max-holds"             // held locks in all
	SettingMaxSessionHolds = "max-holds-per-session" // held locks of one session
	SettingMaxWaiters      = "max-waiters-per-lock"  // waiters of one lock
	SettingMaxWaits        = "max-waiters"           // waiters in all
	SettingMaxDestroyed    = "max-destroyed"         // destroyed names
	SettingMaxIDs          = "max-ids-per-session"   // remembered request IDs of one session
	SettingMaxNotices      = "max-notices"           // untold LOCKLOST notices in all; the oldest goes
)

// Settings are the cluster settings in force.
type Settings struct {
	// SessionTimeout in ms, 1000 to 86400000; default 10000.
	SessionTimeout int64
	// AcquireLimit is the text of the setting; default "0" (none).
	AcquireLimit string
	// FenceFloor: fences given from now on are above it.
	FenceFloor uint64
	// The limits; each at least 1.
	MaxSessions, MaxHolds, MaxSessionHolds, MaxWaiters, MaxWaits, MaxDestroyed, MaxIDs, MaxNotices int64
}

// DefaultSettings returns the settings of a new cluster.
func DefaultSettings() Settings {
	return Settings{
		SessionTimeout:  10_000,
		AcquireLimit:    "0",
		MaxSessions:     100_000,
		MaxHolds:        1_000_000,
		MaxSessionHolds: 1_000_000,
		MaxWaiters:      10_000,
		MaxWaits:        100_000,
		MaxDestroyed:    100_000,
		MaxIDs:          100_000,
		MaxNotices:      100_000,
	}
}

// SettingNames lists all cluster settings in the order of the manual.
func SettingNames() []string {
	return []string{
		SettingSessionTimeout, SettingAcquireLimit, SettingFenceFloor, SettingMaxSessions, SettingMaxHolds, SettingMaxSessionHolds,
		SettingMaxWaiters, SettingMaxWaits, SettingMaxDestroyed, SettingMaxIDs, SettingMaxNotices,
	}
}

// settings are the settings in force, with the acquire limits parsed.
type settings struct {
	rec
	Settings
	limits []acquireRule
}

type acquireRule struct {
	glob  string
	limit int64
}

func (x *settings) appendKey(dst []byte) []byte { return append(dst, kindSettings) }

func (x *settings) appendValue(dst []byte) []byte {
	names := SettingNames()
	dst = appendUints(dst, uint64(len(names)))
	for _, name := range names {
		dst = appendString(appendString(dst, name), x.text(name))
	}
	return dst
}

func (x *settings) forget(*Machine) {}

// acquireLimit returns how often a lock may be entered; 0: no limit.
func (x *settings) acquireLimit(key string) int64 {
	for _, r := range x.limits {
		if match(r.glob, key) {
			return r.limit
		}
	}
	return 0
}

// number returns the place of a setting that is a plain number, and its range.
func (x *settings) number(name string) (at *int64, lo, hi int64) {
	lo, hi = 1, 1<<53
	switch name {
	case SettingSessionTimeout:
		return &x.SessionTimeout, 1000, 86_400_000
	case SettingMaxSessions:
		at = &x.MaxSessions
	case SettingMaxHolds:
		at = &x.MaxHolds
	case SettingMaxSessionHolds:
		at = &x.MaxSessionHolds
	case SettingMaxWaiters:
		at = &x.MaxWaiters
	case SettingMaxWaits:
		at = &x.MaxWaits
	case SettingMaxDestroyed:
		at = &x.MaxDestroyed
	case SettingMaxIDs:
		at = &x.MaxIDs
	case SettingMaxNotices:
		at = &x.MaxNotices
	}
	return at, lo, hi
}

func (x *settings) text(name string) string {
	switch name {
	case SettingAcquireLimit:
		return x.AcquireLimit
	case SettingFenceFloor:
		return strconv.FormatUint(x.FenceFloor, 10)
	}
	if at, _, _ := x.number(name); at != nil {
		return strconv.FormatInt(*at, 10)
	}
	return ""
}

// set changes one setting; the error says what is wrong with the value.
func (x *settings) set(name, value string) error {
	switch name {
	case SettingAcquireLimit:
		rules, err := parseAcquireLimit(value)
		if err != nil {
			return err
		}
		x.limits, x.AcquireLimit = rules, value
		return nil
	case SettingFenceFloor:
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil || n > maxFenceFloor {
			return fmt.Errorf("a fence from 0 to %d is needed", uint64(maxFenceFloor))
		}
		if n < x.FenceFloor {
			return fmt.Errorf("it can only be raised, and is %d now", x.FenceFloor)
		}
		x.FenceFloor = n
		return nil
	}
	at, lo, hi := x.number(name)
	if at == nil {
		return errNoSetting
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil && name == SettingSessionTimeout {
		var d time.Duration
		if d, err = time.ParseDuration(value); err == nil {
			n = d.Milliseconds()
		}
	}
	if err != nil || n < lo || n > hi {
		return fmt.Errorf("a whole number from %d to %d is needed", lo, hi)
	}
	*at = n
	return nil
}

// maxFenceFloor leaves room for 2^52 grants below 2^53.
const maxFenceFloor = 1 << 52

var errNoSetting = errors.New("no such setting")

// parseAcquireLimit reads "n" or "glob=n glob=n ...".
func parseAcquireLimit(value string) ([]acquireRule, error) {
	fields := strings.Fields(value)
	if len(fields) == 0 || len(value) > 1<<12 {
		return nil, errors.New("a number, or glob=number pairs with spaces between, is needed (at most 4096 bytes)")
	}
	rules := make([]acquireRule, 0, len(fields))
	for _, f := range fields {
		glob, number := "*", f
		if i := strings.LastIndexByte(f, '='); i >= 0 {
			glob, number = f[:i], f[i+1:]
		} else if len(fields) > 1 {
			return nil, fmt.Errorf("%q is not a glob=number pair", f)
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 0 || n > 1<<53 || glob == "" {
			return nil, fmt.Errorf("%q is not a limit: a whole number of 0 (none) or more is needed", f)
		}
		rules = append(rules, acquireRule{glob, n})
	}
	return rules, nil
}

// CheckSetting says what is wrong with the value of a cluster setting, before it
// is proposed.
func CheckSetting(name, value string) error {
	x := settings{Settings: DefaultSettings()}
	if err := x.set(name, value); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Settings returns the cluster settings in force.
func (m *Machine) Settings() Settings { return m.settings.Settings }

// Setting returns one cluster setting as text.
func (m *Machine) Setting(name string) (value string, ok bool) {
	value = m.settings.text(name)
	return value, value != ""
}

// configSet carries out CONFIG SET of a cluster setting.
func (m *Machine) configSet(c *conn, o *Op) {
	name := string(o.Name)
	if err := m.settings.set(name, string(o.Value)); err != nil {
		d := Detail{Why: WhyBadSetting, Text: err.Error()}
		if errors.Is(err, errNoSetting) {
			d.Why = WhyNoSuchSetting
		}
		m.refuse(c, o.Seq, CodeErr, d)
		return
	}
	m.eff.Timeout = min(m.eff.Timeout, m.settings.SessionTimeout)
	if !canary.SettingUnwritten { // canary: a restart has the old value
		m.touch(&m.settings)
	}
	m.reply(c, o.Seq, 0)
}
