package fsm

import "strconv"

// Incarnation numbers one life of a node's front end, from 1, given by the
// machine when the node registers. It stays below 2^21, so that every id made
// from it stays below 2^53 and survives clients that read integers as floats.
type Incarnation uint64

// ConnID names one client connection in the whole cluster: incarnation x 2^32
// + n, with n from 1 to 2^31-1 counted by the node. It is never reused.
type ConnID uint64

// SessionID names one session. A connection's first, anonymous session has the
// connection's own number; every later one is drawn by the machine from the
// upper half of the incarnation's numbers, so the two never meet.
type SessionID uint64

const idBits = 32

// MaxConnNumber is the last n a node may give to a connection of one
// incarnation; after it the node registers anew. The last one is the node's own,
// not a client's: it gives the node no session-timeout.
const MaxConnNumber = 1<<31 - 1

// drawnSessions tells the sessions that the machine draws from those that
// connections start with.
const drawnSessions = 1 << 31

// Conn returns the id of the incarnation's n-th connection.
func (i Incarnation) Conn(n uint32) ConnID { return ConnID(uint64(i)<<idBits | uint64(n)) }

// Incarnation returns the incarnation that owns the connection.
func (c ConnID) Incarnation() Incarnation { return Incarnation(c >> idBits) }

// Number returns the connection's number inside its incarnation.
func (c ConnID) Number() uint32 { return uint32(c) }

// Session returns the id of the anonymous session that the connection starts with.
func (c ConnID) Session() SessionID { return SessionID(c) }

func (c ConnID) String() string    { return strconv.FormatUint(uint64(c), 10) }
func (s SessionID) String() string { return strconv.FormatUint(uint64(s), 10) }
