package peer

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Stream says what a connection carries.
type Stream byte

// The streams, as the first byte of a connection.
const (
	StreamRaft    Stream = 'R'
	StreamForward Stream = 'F'
)

func (s Stream) String() string {
	switch s {
	case StreamRaft:
		return "raft"
	case StreamForward:
		return "forward"
	}
	return fmt.Sprintf("stream %q", byte(s))
}

// The versions of the protocol that this code speaks. Two nodes speak the newest that both know.
//
// 2 (2026-11-22): a fast answer says how long the incarnation has left, and the machine has other rules: the states of
// nodes on both sides of that would part.
const (
	versionNewest = 2
	versionOldest = 2
)

// Hello is what each side says of itself before anything else.
type Hello struct {
	// Cluster is the cluster's id in hex; empty: this node belongs to none yet and is joining.
	Cluster string
	// Node is the node's id; from Options.Hello empty: Options.NodeID.
	Node string
	// Disk is the id drawn at the first start on an empty data directory, in hex.
	Disk string
	// Addr is where peers reach the node; from Options.Hello empty: Options.Advertise.
	Addr string
	// Version and Oldest are the protocol versions that it speaks; set by Network.
	Version, Oldest uint64

	// Stream is what the connection is for, and Dialed the address that we dialed to reach them, empty when they
	// came to us. Neither is on the wire.
	Stream Stream
	Dialed string
}

const (
	maxString = 255
	maxHello  = 2 << 10
)

// appendHello encodes what is on the wire. What later versions add comes behind and is ignored by this one.
func appendHello(b []byte, h *Hello) []byte {
	b = binary.AppendUvarint(b, h.Version)
	b = binary.AppendUvarint(b, h.Oldest)
	for _, s := range []string{h.Cluster, h.Node, h.Disk, h.Addr} {
		b = appendString(b, s)
	}
	return b
}

func decodeHello(b []byte) (Hello, error) {
	var h Hello
	d := decoder{b: b}
	h.Version, h.Oldest = d.uvarint(), d.uvarint()
	for _, s := range []*string{&h.Cluster, &h.Node, &h.Disk, &h.Addr} {
		*s = d.string(maxString)
	}
	if d.bad || h.Node == "" {
		return Hello{}, fmt.Errorf("%w: a hello that is none", ErrProtocol)
	}
	return h, nil
}

func appendRefusal(b []byte, r *Refusal) []byte {
	return appendString(appendString(b, r.Code), r.Text)
}

func decodeRefusal(b []byte) (*Refusal, error) {
	d := decoder{b: b}
	r := &Refusal{Code: d.string(maxString), Text: d.string(maxText), Remote: true}
	if d.bad {
		return nil, fmt.Errorf("%w: a refusal that is none", ErrProtocol)
	}
	// It is shown to people and logged: no broken characters, whoever sent it.
	r.Code, r.Text = strings.ToValidUTF8(r.Code, "?"), strings.ToValidUTF8(r.Text, "?")
	return r, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decoder reads fields from b; bad says that one was not there.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) string(limit int) string {
	n := d.uvarint()
	if d.bad || n > uint64(limit) || n > uint64(len(d.b)) {
		d.bad, d.b = true, nil
		return ""
	}
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}
