package peer

import (
	"errors"
)

// What ends a link or refuses a call; compare with errors.Is.
var (
	// ErrClosed: Link.Close or Network.Close was called.
	ErrClosed = errors.New("peer: closed")
	// ErrQueueFull: the other side reads too slowly; the link was reset.
	ErrQueueFull = errors.New("peer: the queue is full, the other side reads too slowly")
	// ErrSilent: nothing was heard for four pings; the link was reset.
	ErrSilent = errors.New("peer: nothing was heard from the other side")
	// ErrGone: the other side closed the link, or its connection broke.
	ErrGone = errors.New("peer: the connection ended")
	// ErrTooBig: the payload is over Options.MaxFrame. From Send: nothing was sent, and the link lives; as the end of a
	// link: the other side announced such a frame.
	ErrTooBig = errors.New("peer: the frame is too big")
	// ErrProtocol: the other side sent what no node of this version sends.
	ErrProtocol = errors.New("peer: unexpected bytes")
	// ErrInsecure: see Options.TLS.
	ErrInsecure = errors.New("peers without TLS are allowed on loopback addresses only; give certificates, or --insecure-peers")
)

// Codes of the refusals that this package makes.
const (
	// CodeRefused stands for an error without a code of its own.
	CodeRefused = "REFUSED"
	// CodeVersion: no version of the protocol in common.
	CodeVersion = "VERSION"
	// CodeCluster: the other side belongs to another cluster.
	CodeCluster = "CLUSTER"
	// CodeSelf: both sides have the same node id.
	CodeSelf = "SELF"
	// CodeName: the certificate does not name the host of the advertised address.
	CodeName = "NAME"
	// CodeBusy: no raft runs here yet, or too many requests are being answered.
	CodeBusy = "BUSY"
)

// Refusal is a refused handshake or request: a code for programs, a sentence for people. Check and Handler.Request may
// return one, wrapped or not, to choose the code.
type Refusal struct {
	Code, Text string
	// Remote says that the other side refused us.
	Remote bool
}

func (r *Refusal) Error() string { return r.Text }

// maxText is the length of a refusal's text on the wire, in bytes.
const maxText = 700

// refusalOf makes what goes over the wire for err.
func refusalOf(err error) *Refusal {
	r := &Refusal{Code: CodeRefused, Text: err.Error()}
	var own *Refusal
	if errors.As(err, &own) && own.Code != "" && len(own.Code) <= maxString {
		r.Code = own.Code
	}
	if len(r.Text) > maxText {
		r.Text = r.Text[:maxText]
	}
	return r
}
