package resp

import (
	"errors"
	"fmt"
)

// Why a connection was closed: what Handler.Closed is told, to be compared with errors.Is.
var (
	ErrClosing      = errors.New("closed by the server after its last reply")
	ErrKilled       = errors.New("killed")
	ErrShutdown     = errors.New("the server shuts down")
	ErrProtocol     = errors.New("protocol error")
	ErrForeign      = errors.New("speaks HTTP, possibly a cross-protocol attack")
	ErrAuthTimeout  = errors.New("not authenticated in time")
	ErrFrameTimeout = errors.New("a command was not complete in time")
	ErrIdleTimeout  = errors.New("idle for too long")
	ErrWriteTimeout = errors.New("the client does not take its replies")
	ErrOutputLimit  = errors.New("too many bytes of replies wait for the client")
	ErrTotalOutput  = errors.New("of all clients, together above their limit, it left most replies unread")
	ErrInternal     = errors.New("internal error")
)

// protocolError is a frame that Redis would refuse too; the text is what the client is told after
// "-ERR Protocol error: ".
type protocolError string

func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// Is makes every protocol error an ErrProtocol.
func (e protocolError) Is(target error) bool { return target == ErrProtocol }

const (
	errMultibulkLength protocolError = "invalid multibulk length"
	errBulkLength      protocolError = "invalid bulk length"
	errBigMultibulk    protocolError = "too big mbulk count string"
	errBigBulk         protocolError = "too big bulk count string"
	errBigInline       protocolError = "too big inline request"
	errQuotes          protocolError = "unbalanced quotes in request"
	errUnauthArgs      protocolError = "unauthenticated multibulk length"
	errUnauthBulk      protocolError = "unauthenticated bulk length"
	errBulkEnd         protocolError = "expected CRLF after bulk"
)

// The errors below start with Redis's words and add the limit, because these limits are smaller than Redis's
// and a person has to find out which setting was hit.

func errTooManyArgs(limit int) error {
	return protocolError(fmt.Sprintf("%s: at most %d arguments", string(errMultibulkLength), limit))
}

func errTooLongBulk(limit int) error {
	return protocolError(fmt.Sprintf("%s: at most %d bytes", string(errBulkLength), limit))
}

func errTooLongFrame(limit int) error {
	return protocolError(fmt.Sprintf("%s: a command has at most %d bytes", string(errBulkLength), limit))
}

func errNotDollar(got byte) error {
	if got < ' ' || got > '~' {
		return protocolError(fmt.Sprintf(`expected '$', got '\x%02x'`, got))
	}
	return protocolError(fmt.Sprintf("expected '$', got '%c'", got))
}
