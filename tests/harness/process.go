package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Process is one run of a server program. It is ended by its own handle only.
type Process struct {
	cmd     *exec.Cmd
	log     *Log
	file    *os.File
	started time.Time
	done    chan struct{} // closed when the process has ended and its output was read
}

// ProcessConfig says what to run.
type ProcessConfig struct {
	Path    string
	Args    []string
	Env     []string // added to the environment of this process
	Dir     string   // working directory
	LogFile string   // output is appended here
	// Ready tells the line that the process writes once it serves.
	Ready func(line string) bool
	// Patience bounds the start. 0: [Patience].
	Patience time.Duration
}

// Launch starts a process and returns once it serves. When it ends before that, or takes too long, the error holds
// the end of its output, and no process is left.
func Launch(ctx context.Context, cfg ProcessConfig) (*Process, error) {
	p, err := Spawn(cfg)
	if err != nil {
		return nil, err
	}
	patience := cfg.Patience
	if patience == 0 {
		patience = Patience
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := p.log.Wait(ctx, cfg.Ready); err != nil {
		p.Kill()
		return nil, fmt.Errorf("%s does not serve: %w (exit code %d)\n%s", cfg.Path, err, p.ExitCode(), p.log.Tail(20))
	}
	return p, nil
}

// Spawn starts a process and does not wait until it serves: Ready and Patience mean nothing to it.
func Spawn(cfg ProcessConfig) (*Process, error) {
	file, err := os.OpenFile(cfg.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("log file of %s: %w", cfg.Path, err)
	}
	p := &Process{cmd: exec.Command(cfg.Path, cfg.Args...), log: NewLog(file), file: file, done: make(chan struct{})}
	p.cmd.Dir = cfg.Dir
	p.cmd.Env = append(cleanEnv(), cfg.Env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = dieWithParent()
	p.cmd.WaitDelay = 5 * time.Second
	err = p.begin()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", cfg.Path, err), file.Close())
	}
	return p, nil
}

// cleanEnv is our environment without redlockd's options, so that a developer's own do not change a test.
func cleanEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "REDLOCKD_") })
}

// begin starts the process from a thread that lives as long as it does: Linux ends the child when the *thread* that
// started it goes (Pdeathsig), so a test that crashes leaves no servers behind.
func (p *Process) begin() error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		p.started = time.Now()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = p.cmd.Wait() // the outcome is in ProcessState
		p.log.end()
		_ = p.file.Close()
		close(p.done)
	}()
	return <-started
}

// Log follows the output of the process.
func (p *Process) Log() *Log { return p.log }

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Started is when the process was started.
func (p *Process) Started() time.Time { return p.started }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether the process has not ended yet.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ExitCode is the exit code of an ended process; -1 while it runs and when a signal ended it.
func (p *Process) ExitCode() int {
	if p.Running() {
		return -1
	}
	return p.cmd.ProcessState.ExitCode()
}

// Kill ends the process with SIGKILL and returns when it is gone. On one that has ended it does nothing.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails only when it has ended
	<-p.done
}

// Signal sends a signal. The error tells that the process has ended.
func (p *Process) Signal(sig syscall.Signal) error { return p.cmd.Process.Signal(sig) }

// Wait waits for the end of the process.
func (p *Process) Wait(within time.Duration) error {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("process %d still runs after %v", p.PID(), within)
	}
}

// Stop asks the process to end with SIGTERM and returns its exit code. One that does not end in time is killed, and
// the error says so.
func (p *Process) Stop(within time.Duration) (int, error) {
	_ = p.Signal(syscall.SIGCONT) // a paused process sees no SIGTERM
	_ = p.Signal(syscall.SIGTERM)
	if err := p.Wait(within); err != nil {
		p.dump()
		p.Kill()
		return p.ExitCode(), fmt.Errorf("SIGTERM: %w; killed", err)
	}
	return p.ExitCode(), nil
}

// dump ends a process that hangs, and lets it write to its log where its goroutines stand.
func (p *Process) dump() {
	_ = p.Signal(syscall.SIGQUIT)
	_ = p.Wait(5 * time.Second) // Kill is next anyway
}
