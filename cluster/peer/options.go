package peer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"
)

// Options configure a Network. NodeID and Listener are needed; zero values of the others mean their defaults.
type Options struct {
	// NodeID is this node's id, and Advertise the address at which the others reach it (default: the
	// listener's); both go into the Hello.
	NodeID    string
	Advertise string
	// Listener is where peers come in; plain, also when TLS is set. Network closes it.
	Listener net.Listener
	// Dial opens a plain connection; default TCP. It must honour ctx.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Hello is asked at each handshake for what this node says of itself; Node and Addr may be left empty, and
	// Hello may be nil: then cluster id and disk id are empty.
	Hello func() Hello
	// Check says whether the other side of a handshake may connect; its error is the refusal, told to the other
	// side and logged by both. Version, cluster id and node id (not ours) were compared before. Called from
	// many goroutines; nil: all may.
	Check func(Hello) error
	// Refused is told each time the other side of a handshake refuses us, for raft's connections too. addr is the
	// address we dialed, or theirs. May be nil.
	Refused func(addr string, r *Refusal)
	// TLS makes all connections TLS 1.3 with certificates on both sides. Without it only loopback addresses are
	// listened on, dialed and accepted, unless Insecure is set.
	TLS      *TLS
	Insecure bool
	// Logger gets refusals and failures; default slog.Default().
	Logger *slog.Logger

	// MaxFrame is the largest payload of a frame in bytes, to send and to receive; default 1 MiB + 64 KiB.
	MaxFrame int
	// QueueBytes is how much a link keeps that is not written yet, at least two frames of MaxFrame; default 8 MiB.
	QueueBytes int
	// MaxConns is how many incoming connections there may be, handshakes included; default 256.
	MaxConns int
	// HandshakeTimeout is from the first byte to the last of a handshake, TLS included; default 5 s.
	HandshakeTimeout time.Duration
	// WriteTimeout is how long 256 KiB may wait to be taken by the other side; default 5 s.
	WriteTimeout time.Duration
	// Ping is how often a link is pinged that has nothing to send; a link from which nothing comes for four of
	// them is reset. Default 1 s; all nodes need the same value.
	Ping time.Duration
}

// chunk is how much is written under one WriteTimeout.
const chunk = 256 << 10

func (o *Options) fill() error {
	switch {
	case o.NodeID == "" || len(o.NodeID) > maxString:
		return fmt.Errorf("peer: the node id must have 1 to %d bytes", maxString)
	case o.Listener == nil:
		return errors.New("peer: no listener")
	}
	if o.Advertise == "" {
		o.Advertise = o.Listener.Addr().String()
	}
	if len(o.Advertise) > maxString {
		return fmt.Errorf("peer: the advertised address has over %d bytes", maxString)
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	if o.Hello == nil {
		o.Hello = func() Hello { return Hello{} }
	}
	if o.Check == nil {
		o.Check = func(Hello) error { return nil }
	}
	if o.Refused == nil {
		o.Refused = func(string, *Refusal) {}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	orDefault(&o.MaxFrame, 1<<20+64<<10)
	orDefault(&o.QueueBytes, 8<<20)
	o.QueueBytes = max(o.QueueBytes, 2*(o.MaxFrame+frameHead))
	orDefault(&o.MaxConns, 256)
	orDefault(&o.HandshakeTimeout, 5*time.Second)
	orDefault(&o.WriteTimeout, 5*time.Second)
	orDefault(&o.Ping, time.Second)
	if o.TLS == nil && !o.Insecure {
		return o.checkLocal()
	}
	return nil
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

// checkLocal refuses a configuration that would need TLS. An advertised name is not looked up here: each connection
// is checked by its address.
func (o *Options) checkLocal() error {
	if a := o.Listener.Addr(); !local(a) {
		return fmt.Errorf("peer: %s is not a loopback address and there is no TLS: %w", a, ErrInsecure)
	}
	if a := o.Advertise; !localName(a) {
		return fmt.Errorf("peer: the advertised address %s is not a loopback address and there is no TLS: %w", a, ErrInsecure)
	}
	return nil
}
