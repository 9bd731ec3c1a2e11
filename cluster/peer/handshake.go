package peer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// magic follows the stream's byte: whatever else finds this port is known by its first bytes.
const magic = "rlkd"

// The first byte of each answer in a handshake.
const (
	accepted = '+'
	refused  = '-'
)

// handshaker does one handshake over a connection that has a deadline.
type handshaker struct {
	n    *Network
	conn net.Conn
	own  Hello
}

func (n *Network) handshaker(conn net.Conn) *handshaker {
	h := n.o.Hello()
	if h.Node == "" {
		h.Node = n.o.NodeID
	}
	if h.Addr == "" {
		h.Addr = n.o.Advertise
	}
	h.Version, h.Oldest = versionNewest, versionOldest
	return &handshaker{n: n, conn: conn, own: h}
}

// dialed runs the dialer's side. A *Refusal says who refused whom.
func (s *handshaker) dialed(stream Stream, addr string) (Hello, error) {
	first := append([]byte{byte(stream)}, magic...)
	if err := s.write(first, appendHello(nil, &s.own)); err != nil {
		return Hello{}, err
	}
	theirs, err := s.answer()
	if err != nil {
		return Hello{}, err
	}
	theirs.Stream, theirs.Dialed = stream, addr
	if err := s.check(&theirs); err != nil {
		return theirs, s.refuse(err)
	}
	return theirs, s.write([]byte{accepted}, nil)
}

// came runs the listener's side. ready may refuse a stream that nobody serves.
func (s *handshaker) came(ready func(Stream) error) (Hello, error) {
	var first [1 + len(magic)]byte
	// The first byte alone: a stranger may wait for our answer after one.
	if _, err := io.ReadFull(s.conn, first[:1]); err != nil {
		return Hello{}, err
	}
	stream := Stream(first[0])
	if stream != StreamRaft && stream != StreamForward {
		return Hello{}, notOurs(first[0])
	}
	if _, err := io.ReadFull(s.conn, first[1:]); err != nil {
		return Hello{}, err
	}
	if string(first[1:]) != magic {
		return Hello{}, notOurs(first[0])
	}
	body, err := s.read()
	if err != nil {
		return Hello{}, err
	}
	theirs, err := decodeHello(body)
	if err != nil {
		return Hello{}, err
	}
	theirs.Stream = stream
	err = s.check(&theirs)
	if err == nil {
		err = ready(stream)
	}
	if err != nil {
		return theirs, s.refuse(err)
	}
	if err = s.write([]byte{accepted}, appendHello(nil, &s.own)); err != nil {
		return theirs, err
	}
	_, err = s.status()
	return theirs, err
}

// check compares what every node must agree on, then asks Options.Check.
func (s *handshaker) check(h *Hello) error {
	switch own := &s.own; {
	case h.Oldest > own.Version || own.Oldest > h.Version:
		return &Refusal{Code: CodeVersion, Text: fmt.Sprintf("node %s speaks versions %d to %d of the peers' protocol, node %s %d to %d: upgrade one version at a time",
			h.Node, h.Oldest, h.Version, own.Node, own.Oldest, own.Version)}
	case h.Cluster != "" && own.Cluster != "" && h.Cluster != own.Cluster:
		return &Refusal{Code: CodeCluster, Text: fmt.Sprintf("node %s belongs to cluster %s and node %s to cluster %s: one of them has a wrong peer address or a wrong data directory",
			h.Node, h.Cluster, own.Node, own.Cluster)}
	case h.Node == own.Node:
		return &Refusal{Code: CodeSelf, Text: fmt.Sprintf("both sides are node %s: two nodes have the same id, or a node was given its own address", own.Node)}
	}
	if err := nameOf(s.conn, h); err != nil {
		return err
	}
	return s.n.o.Check(*h)
}

// refuse tells the other side why; the caller closes.
func (s *handshaker) refuse(err error) error {
	r := refusalOf(err)
	if werr := s.write([]byte{refused}, appendRefusal(nil, r)); werr != nil {
		return errors.Join(r, fmt.Errorf("tell the other side: %w", werr))
	}
	return r
}

// answer reads the listener's hello.
func (s *handshaker) answer() (Hello, error) {
	body, err := s.status()
	if err != nil {
		return Hello{}, err
	}
	return decodeHello(body)
}

// status reads an answer: the body of an accepting one, a *Refusal as the error of the other.
func (s *handshaker) status() ([]byte, error) {
	var st [1]byte
	if _, err := io.ReadFull(s.conn, st[:]); err != nil {
		return nil, err
	}
	if st[0] != accepted && st[0] != refused {
		return nil, notOurs(st[0])
	}
	body, err := s.read()
	if err != nil || st[0] == accepted {
		return body, err
	}
	r, err := decodeRefusal(body)
	if err != nil {
		return nil, err
	}
	return nil, r
}

// write sends head, the length of body, and body.
func (s *handshaker) write(head, body []byte) error {
	head = binary.BigEndian.AppendUint16(head, uint16(len(body)))
	_, err := s.conn.Write(append(head, body...))
	return err
}

// read reads a length and as many bytes, and never one more: what follows is the stream's.
func (s *handshaker) read() ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(s.conn, n[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint16(n[:])
	if size > maxHello {
		return nil, fmt.Errorf("%w: a hello of %d bytes", ErrProtocol, size)
	}
	b := make([]byte, size)
	_, err := io.ReadFull(s.conn, b)
	return b, err
}

// notOurs says what a stranger probably is.
func notOurs(first byte) error {
	switch first {
	case 0x16:
		return fmt.Errorf("%w: the other side speaks TLS and this node does not", ErrProtocol)
	case 0x15:
		return fmt.Errorf("%w: the other side does not speak TLS as this node does", ErrProtocol)
	case '*':
		return fmt.Errorf("%w: a Redis client at the peers' port", ErrProtocol)
	}
	return fmt.Errorf("%w: first byte %q", ErrProtocol, first)
}
