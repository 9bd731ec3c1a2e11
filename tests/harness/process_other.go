//go:build !linux

package harness

import (
	"errors"
	"syscall"
	"time"
)

func dieWithParent() *syscall.SysProcAttr { return nil }

// RSS is known on Linux only.
func (p *Process) RSS() (int64, error) { return 0, errors.ErrUnsupported }

// CPU is known on Linux only.
func (p *Process) CPU() (time.Duration, error) { return 0, errors.ErrUnsupported }

// Frozen is known on Linux only; elsewhere the signal is trusted.
func (p *Process) Frozen() bool { return true }
