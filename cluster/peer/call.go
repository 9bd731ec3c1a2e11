package peer

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
)

// maxAsked is how many requests of the other side a link answers at a time.
const maxAsked = 16

// calls are the requests of both sides.
type calls struct {
	mu   sync.Mutex
	next uint64
	open map[uint64]chan<- answer

	asked int // requests of the other side that are being answered
}

type answer struct {
	body []byte
	err  error
}

// Request asks the other side's Handler.Request and waits for the answer: for rare things, with kind saying what. The
// error is a *Refusal of the other side, ctx's, ErrTooBig, or why the link has ended; with the last two but ErrTooBig the
// request may have been carried out.
func (l *Link) Request(ctx context.Context, kind byte, payload []byte) ([]byte, error) {
	c := &l.calls
	ch := make(chan answer, 1)
	c.mu.Lock()
	c.next++
	id := c.next
	if c.open == nil {
		c.open = map[uint64]chan<- answer{}
	}
	c.open[id] = ch
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.open, id)
		c.mu.Unlock()
	}()
	if err := l.send(frameRequest, append(binary.AppendUvarint(nil, id), kind), payload); err != nil {
		return nil, err
	}
	select {
	case a := <-ch:
		return a.body, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.ctx.Done():
		return nil, l.Err()
	}
}

// asked has a request answered in a goroutine of its own.
func (l *Link) asked(payload []byte) error {
	d := decoder{b: payload}
	id, kind := d.uvarint(), d.byte()
	if d.bad {
		return fmt.Errorf("%w: %s sent a request that is none", ErrProtocol, l.peer.Node)
	}
	c := &l.calls
	c.mu.Lock()
	full := c.asked >= maxAsked
	if !full {
		c.asked++
	}
	c.mu.Unlock()
	if full {
		l.answer(id, nil, &Refusal{Code: CodeBusy, Text: fmt.Sprintf("node %s answers %d requests already: try again", l.n.o.NodeID, maxAsked)})
		return nil
	}
	body := slices.Clone(d.b)
	l.running.Go(func() {
		reply, err := l.n.handler.Request(l.ctx, l, kind, body)
		c.mu.Lock()
		c.asked--
		c.mu.Unlock()
		l.answer(id, reply, err)
	})
	return nil
}

// answer sends the answer to a request. Whether the link still lives is the asker's concern.
func (l *Link) answer(id uint64, body []byte, err error) {
	head := binary.AppendUvarint(nil, id)
	if err == nil && len(head)+1+len(body) > l.n.o.MaxFrame {
		err = fmt.Errorf("the answer has %d bytes, too many for a frame", len(body))
	}
	if err != nil {
		_ = l.send(frameAnswer, append(head, refused), appendRefusal(nil, refusalOf(err)))
		return
	}
	_ = l.send(frameAnswer, append(head, accepted), body)
}

// answered gives an answer to the one who waits for it, if he still does.
func (l *Link) answered(payload []byte) error {
	d := decoder{b: payload}
	id, status := d.uvarint(), d.byte()
	var a answer
	switch {
	case d.bad || status != accepted && status != refused:
		return fmt.Errorf("%w: %s sent an answer that is none", ErrProtocol, l.peer.Node)
	case status == accepted:
		a.body = slices.Clone(d.b)
	default:
		r, err := decodeRefusal(d.b)
		if err != nil {
			return err
		}
		a.err = r
	}
	c := &l.calls
	c.mu.Lock()
	ch := c.open[id]
	delete(c.open, id)
	c.mu.Unlock()
	if ch != nil {
		ch <- a
	}
	return nil
}
