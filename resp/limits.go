package resp

import (
	"sync/atomic"
	"time"
)

// Duration is a time.Duration that can be read and set by any goroutine.
type Duration struct{ ns atomic.Int64 }

// Load returns the duration.
func (d *Duration) Load() time.Duration { return time.Duration(d.ns.Load()) }

// Store sets the duration.
func (d *Duration) Store(v time.Duration) { d.ns.Store(int64(v)) }

// Limits bound what a client can cost. Each can be set while the server runs and counts from the next
// command, wait or connection on. NewLimits gives the defaults; a zero Limits serves nobody.
type Limits struct {
	Clients atomic.Int64 // connections at once; the next one is told so and closed

	// Before AUTH, where a password is required.
	UnauthArgs  atomic.Int64 // arguments of a command, its name included
	UnauthBulk  atomic.Int64 // bytes of an argument
	UnauthFrame atomic.Int64 // bytes of a whole command
	AuthTimeout Duration     // from the connect (or SetAuthenticated(false)) to SetAuthenticated(true)

	// Of one command.
	Args         atomic.Int64 // arguments, the command's name included
	Bulk         atomic.Int64 // bytes of an argument
	Frame        atomic.Int64 // bytes of a whole command on the wire
	Inline       atomic.Int64 // bytes of a command typed as a line
	FrameTimeout Duration     // from its first byte to its last

	// Of one connection's pipeline: reading stops at these, and starts again at half of them.
	PipelineCommands atomic.Int64 // commands whose replies are outstanding
	PipelineBytes    atomic.Int64 // bytes of such commands, and bytes read but not yet looked at
	Output           atomic.Int64 // bytes of replies not yet taken by the client; no command runs above it
	OutputHard       atomic.Int64 // as Output, but above it the connection is closed

	// OutputTotal is how many bytes of replies all clients together may leave unread. Above it those that leave most
	// are closed.
	OutputTotal atomic.Int64

	WriteTimeout Duration // for the client to take a piece of at most 64 KiB
	IdleTimeout  Duration // since the client's last byte or its last late reply, with none outstanding; 0: none
	Linger       Duration // for the client to close after we did, so that our last reply is not lost to a reset

	// TCPTimeout is how long a TCP peer may acknowledge nothing, whether bytes are under way or not (keepalive
	// probes ask), before the connection is closed. It counts for connections accepted after it was set.
	// Whole seconds, at least 3; 0: as the operating system has it. On systems other than Linux it sets the
	// keepalive probes only.
	TCPTimeout Duration
}

// NewLimits returns the default limits.
func NewLimits() *Limits {
	l := &Limits{}
	l.Clients.Store(10_000)
	l.UnauthArgs.Store(10)
	l.UnauthBulk.Store(4 << 10)
	l.UnauthFrame.Store(64 << 10)
	l.AuthTimeout.Store(10 * time.Second)
	l.Args.Store(64)
	l.Bulk.Store(64 << 10)
	l.Frame.Store(128 << 10)
	l.Inline.Store(1 << 10)
	l.FrameTimeout.Store(30 * time.Second)
	l.PipelineCommands.Store(1024)
	l.PipelineBytes.Store(1 << 20)
	l.Output.Store(1 << 20)
	l.OutputHard.Store(32 << 20)
	l.OutputTotal.Store(32 << 20)
	l.WriteTimeout.Store(10 * time.Second)
	l.Linger.Store(time.Second)
	l.TCPTimeout.Store(15 * time.Second)
	return l
}

// frameLimits are the limits of one frame, read once for it.
type frameLimits struct {
	args, bulk, frame, inline int
	unauth                    bool
}

func (l *Limits) of(unauth bool) frameLimits {
	f := frameLimits{inline: int(l.Inline.Load()), unauth: unauth}
	if unauth {
		f.args, f.bulk, f.frame = int(l.UnauthArgs.Load()), int(l.UnauthBulk.Load()), int(l.UnauthFrame.Load())
	} else {
		f.args, f.bulk, f.frame = int(l.Args.Load()), int(l.Bulk.Load()), int(l.Frame.Load())
	}
	return f
}
