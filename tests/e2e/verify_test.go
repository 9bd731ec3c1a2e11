package e2e

import (
	"fmt"
	"slices"

	"github.com/redlockd/redlockd/tests/harness"
)

// verify compares what a restarted server says with what every client was promised. A command that was not answered
// may have been done or not; what the server says of it is taken over. It returns the complaints.
func verify(conn *harness.Conn, w *world, loaders []*loader) ([]string, error) {
	v := &verifier{conn: conn, world: w, expected: map[string]bool{}}
	for _, l := range loaders {
		if l.kind == kindAnonymous {
			l.holds, l.pending = map[string]hold{}, nil
			w.forget(l)
			continue
		}
		if err := v.loader(l); err != nil {
			return nil, err
		}
	}
	return v.complaints, v.nothingElse()
}

type verifier struct {
	conn       *harness.Conn
	world      *world
	expected   map[string]bool // keys that must be held
	complaints []string
}

func (v *verifier) complain(format string, args ...any) {
	v.complaints = append(v.complaints, fmt.Sprintf(format, args...))
}

// found is what LOCKINFO says of a key, as seen by one client.
type found struct {
	mine    bool
	hold    hold
	written string
}

func (v *verifier) look(l *loader, key string) (found, error) {
	info, err := v.conn.Do("LOCKINFO", key)
	if err != nil {
		return found{}, err
	}
	field := func(name string) harness.Value {
		value, ok := info.Field(name)
		if !ok {
			err = fmt.Errorf("LOCKINFO %s: no %s in %v", key, name, info)
		}
		return value
	}
	f := found{written: info.String()}
	f.hold = hold{field("fence").Int, field("holds").Int, field("lease-ms").Int > 0}
	session, owner := field("session-name").Text, field("owner").Text
	held := field("state").Text == "held"
	if l.kind == kindKept {
		f.mine = held && field("session").Int == 0
	} else {
		f.mine = held && session == l.session() && owner == loadOwner
	}
	return f, err
}

func (v *verifier) loader(l *loader) error {
	undecided := map[string]bool{}
	for _, a := range l.pending {
		undecided[a.key] = true
	}
	for key, want := range l.holds {
		if undecided[key] {
			continue
		}
		got, err := v.look(l, key)
		if err != nil {
			return err
		}
		if !got.mine || got.hold != want {
			v.complain("client %d was promised %+v of %s, and the server says %s", l.id, want, key, got.written)
		}
		v.expected[key] = true
	}
	done := true // the commands of one piece are done in order: none after one that was not
	for _, a := range l.pending {
		got, err := v.look(l, a.key)
		if err != nil {
			return err
		}
		switch did := v.decide(l, a, got); {
		case did == no:
			done = false
		case did == yes && !done:
			v.complain("client %d: %v was done, and not one that was sent before it on the same connection", l.id, a.args)
		}
		v.adopt(l, a, got)
	}
	l.pending = nil
	return nil
}

type answer int

const (
	unknown answer = iota
	yes
	no
)

// decide tells whether a command that was not answered has been done, and complains if the state fits neither.
func (v *verifier) decide(l *loader, a attempt, got found) answer {
	before, after := a.before, a.before
	switch a.act {
	case actGrant:
		if !got.mine {
			return no
		}
		after = hold{got.hold.fence, 1, a.lease}
		if got.hold.fence <= a.above {
			v.complain("client %d: fence %d of %s is not above %d", l.id, got.hold.fence, a.key, a.above)
		}
	case actReenter:
		after.count, after.lease = before.count+1, before.lease && a.lease
	case actUnlock:
		after.count--
	case actRenew:
		after.lease = true
	case actCount:
	}
	if after.count == 0 && !got.mine {
		return yes
	}
	switch {
	case !got.mine || got.hold != before && got.hold != after:
		v.complain("client %d: after %v without an answer %s is %s, and was %+v", l.id, a.args, a.key, got.written, before)
	case before == after:
		return unknown
	case got.hold == after:
		return yes
	}
	return no
}

// adopt takes over what the server says of a key.
func (v *verifier) adopt(l *loader, a attempt, got found) {
	if !got.mine {
		delete(l.holds, a.key)
		v.world.releasing(l, a.key)
		return
	}
	v.expected[a.key] = true
	l.holds[a.key] = got.hold
	if a.act == actGrant {
		v.world.granted(l, a.key, got.hold.fence, a.above)
		return
	}
	v.world.holding(l, a.key) // an UNLOCK that was begun and not done
}

// nothingElse checks that no other lock is held, which a dead anonymous session would have left.
func (v *verifier) nothingElse() error {
	keys, err := scanAll(v.conn, "COUNT", "100")
	if err != nil {
		return err
	}
	for _, key := range keys {
		if !v.expected[key] {
			info, err := v.conn.Do("LOCKINFO", key)
			if err != nil {
				return err
			}
			v.complain("%s is held, and nobody who survives holds it: %v", key, info)
		}
	}
	for key := range v.expected {
		if !slices.Contains(keys, key) {
			v.complain("%s is held, and LOCKSCAN does not have it", key)
		}
	}
	return nil
}

// scanAll returns the keys that LOCKSCAN has, with these options.
func scanAll(conn *harness.Conn, options ...string) ([]string, error) {
	var keys []string
	for cursor := "0"; ; {
		page, err := conn.Do(append([]string{"LOCKSCAN", cursor}, options...)...)
		if err != nil {
			return nil, err
		}
		if len(page.Items) != 2 {
			return nil, fmt.Errorf("LOCKSCAN %s: %v", cursor, page)
		}
		for _, key := range page.Items[1].Items {
			keys = append(keys, key.Text)
		}
		if cursor = page.Items[0].Text; cursor == "0" {
			return keys, nil
		}
	}
}
