package commands

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/redlockd/redlockd/resp"
)

// Handler runs the commands of all connections of a server. It is a resp.Handler.
type Handler struct {
	o        Options
	table    *Table
	sections []section // of INFO
	started  time.Time
	hub      hub
	sentinel *sentinel // nil but on the Sentinel port

	backups atomic.Int32 // being read

	mu      sync.RWMutex
	clients map[*client]struct{}
}

var _ resp.Handler = (*Handler)(nil)

// NewHandler returns a handler. Options.Open and Options.State are required.
func NewHandler(o Options) *Handler {
	if o.Open == nil || o.State == nil {
		panic("commands: NewHandler needs Options.Open and Options.State")
	}
	return newHandler(o)
}

func newHandler(o Options) *Handler {
	o = o.withDefaults()
	h := &Handler{o: o, table: o.Table, sections: infoSections(), started: o.Now(), clients: map[*client]struct{}{}}
	if h.o.Cluster == nil {
		h.o.Cluster = alone{h}
	}
	return h
}

// Table returns the commands that the handler serves.
func (h *Handler) Table() *Table { return h.table }

// Connect implements resp.Handler.
func (h *Handler) Connect(rc *resp.Conn) (any, error) {
	c := &client{h: h, rc: rc}
	sc, err := h.o.Open(rc.RemoteAddr(), c)
	if err != nil {
		return nil, err
	}
	c.sc = sc
	c.deauthenticate()
	h.mu.Lock()
	h.clients[c] = struct{}{}
	h.mu.Unlock()
	return c, nil
}

// Command implements resp.Handler.
func (h *Handler) Command(rc *resp.Conn, args [][]byte) bool {
	return rc.State().(*client).command(args)
}

// Burst implements resp.Handler: what the commands of one read gathered is proposed in one go.
func (h *Handler) Burst(rc *resp.Conn) {
	c := rc.State().(*client)
	c.sc.Touch()
	c.sc.Flush()
}

// Closed implements resp.Handler.
func (h *Handler) Closed(rc *resp.Conn, _ error) {
	c := rc.State().(*client)
	c.sc.Closed() // first: its locks must not wait for what follows, such as a disk that hangs
	h.mu.Lock()
	delete(h.clients, c)
	h.mu.Unlock()
	c.mu.Lock()
	c.gone = true
	if c.cancel != nil {
		c.cancel()
	}
	c.mu.Unlock()
	c.setBackup(nil)
}

// Quiet says that what is outstanding on the connection is a wait for a lock,
// which a server that shuts down need not wait for.
func (h *Handler) Quiet(rc *resp.Conn) bool {
	c, ok := rc.State().(*client)
	return ok && c.sc.Info().Waiting
}

// each calls f for every connection, in no order, until it returns false.
func (h *Handler) each(f func(*client) bool) {
	h.mu.RLock()
	all := make([]*client, 0, len(h.clients))
	for c := range h.clients {
		all = append(all, c)
	}
	h.mu.RUnlock()
	for _, c := range all {
		if !f(c) {
			return
		}
	}
}

// count returns how many connections there are.
func (h *Handler) count() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.clients)
}
