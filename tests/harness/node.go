package harness

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Node is one redlockd of a [Cluster]. What a [Server] can do it can as well.
type Node struct {
	*Server
	c *Cluster
	// ID is its name, and PeerAddr where the other nodes reach it: an address of the wires.
	ID, PeerAddr string

	running *Process // for the wires; guarded by the cluster's mu
	paused  bool
}

// probeTime bounds one look at a node, which may hang.
const probeTime = 2 * time.Second

// Launch starts the process and does not wait until it serves: it may need the others for that.
func (n *Node) Launch() {
	n.t.Helper()
	if n.IsRunning() {
		n.t.Fatalf("node %s runs already", n.ID)
	}
	path := Binary(n.t)
	// A process that dials before the wires know it would be taken for a stranger.
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	proc, err := Spawn(n.config(path))
	if err != nil {
		n.t.Fatalf("start node %s: %v", n.ID, err)
	}
	n.proc, n.running, n.expectKill, n.paused = proc, proc, false, false
}

// AddArgs gives the next Launch or Start more flags.
func (n *Node) AddArgs(more ...string) { n.SetArgs(append(slices.Clone(n.args), more...)...) }

// Start starts the process and waits until it serves.
func (n *Node) Start() {
	n.t.Helper()
	n.Launch()
	n.AwaitServing()
}

// Restart stops the process by SIGTERM, unless it has ended, and starts it again.
func (n *Node) Restart() {
	n.t.Helper()
	if n.IsRunning() {
		if code := n.Stop(); code != 0 {
			n.t.Errorf("node %s: exit code %d after SIGTERM, want 0", n.ID, code)
		}
	}
	n.Start()
}

// Terminate sends SIGTERM and does not wait for the end.
func (n *Node) Terminate() {
	n.t.Helper()
	n.signal(syscall.SIGTERM)
}

// AwaitEnd waits until the process has ended, with this exit code.
func (n *Node) AwaitEnd(code int) {
	n.t.Helper()
	if err := n.proc.Wait(Patience); err != nil {
		n.t.Fatalf("node %s: %v\n%s", n.ID, err, n.proc.Log().Tail(20))
	}
	if got := n.proc.ExitCode(); got != code {
		n.t.Errorf("node %s ended with exit code %d, want %d\n%s", n.ID, got, code, n.proc.Log().Tail(20))
	}
	n.expectKill = true // its exit code has been looked at
}

// Pause freezes the process until Continue.
func (n *Node) Pause() {
	n.t.Helper()
	n.Server.Pause()
	n.paused = true
}

// Continue lets a paused process go on.
func (n *Node) Continue() {
	n.t.Helper()
	n.paused = false
	n.Server.Continue()
}

// IsRunning reports whether there is a process, paused or not.
func (n *Node) IsRunning() bool { return n.proc != nil && n.proc.Running() }

// IsUp reports whether there is a process that is not paused.
func (n *Node) IsUp() bool { return n.IsRunning() && !n.paused }

// AwaitServing waits until the node carries out commands.
func (n *Node) AwaitServing() {
	n.t.Helper()
	var why error
	if Poll(Patience, func() bool {
		why = n.Probe(probeTime)
		return why == nil || !n.IsRunning()
	}) && n.IsRunning() {
		return
	}
	n.t.Fatalf("node %s does not serve after %v: %v\n%s", n.ID, Patience, why, n.proc.Log().Tail(30))
}

// Probe asks the node something that only a leader can tell, and returns why there was no answer.
func (n *Node) Probe(within time.Duration) error {
	conn, err := DialWithin(n.addr, within)
	if err != nil {
		return err
	}
	defer conn.Close()
	ask := AppendCommand(AppendCommand(nil, "ASKING"), "ISLOCKED", "harness:probe") // or it might send us to the leader
	if err := conn.SendRaw(ask); err != nil {
		return err
	}
	if _, err := conn.ReceiveWithin(within); err != nil {
		return err
	}
	v, err := conn.ReceiveWithin(within)
	if err == nil && v.Kind != Int {
		err = fmt.Errorf("%v", v)
	}
	return err
}

// Info asks the node for a section of INFO.
func (n *Node) Info(section string) (map[string]string, error) {
	v, err := Ask(n.addr, probeTime, "INFO", section)
	if err != nil {
		return nil, err
	}
	if v.Kind != Bulk && v.Kind != Verbatim {
		return nil, fmt.Errorf("INFO %s: %v", section, v)
	}
	return Fields(v.Text), nil
}

// Fields are the fields of a text of INFO.
func Fields(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

// InfoField is one field of a section of INFO; the node must answer.
func (n *Node) InfoField(section, field string) string {
	n.t.Helper()
	info, err := n.Info(section)
	if err != nil {
		n.t.Fatalf("node %s: %v", n.ID, err)
	}
	value, ok := info[field]
	if !ok {
		n.t.Fatalf("node %s: INFO %s has no %s", n.ID, section, field)
	}
	return value
}

// Ask runs one command on a connection of its own. An error reply is a value.
func Ask(addr string, within time.Duration, args ...string) (Value, error) {
	conn, err := DialWithin(addr, within)
	if err != nil {
		return Value{}, err
	}
	defer conn.Close()
	if err := conn.Send(args...); err != nil {
		return Value{}, err
	}
	return conn.ReceiveWithin(within)
}
