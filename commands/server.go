package commands

import (
	"strconv"

	"github.com/redlockd/redlockd/resp"
)

// This file has the small commands about the server.

func runTime(c *client, _ [][]byte) {
	now := c.h.o.Now()
	w := c.rc.Begin()
	w.Array(2)
	bulkUint(w, uint64(now.Unix()))
	bulkUint(w, uint64(now.Nanosecond()/1000))
	c.rc.End(0)
}

// runShutdown stops the node as SIGTERM does. Like Redis it answers nothing:
// the connection closes.
func runShutdown(c *client, args [][]byte) {
	seen := map[string]bool{}
	for _, a := range args[1:] {
		switch {
		case isWord(a, "ABORT") && len(args) == 2:
			c.failed("ERR No shutdown in progress.")
			return
		case isWord(a, "NOSAVE") || isWord(a, "SAVE"):
			a = []byte("SAVE")
		case isWord(a, "NOW"):
			a = []byte("NOW")
		case isWord(a, "FORCE"):
			a = []byte("FORCE")
		default:
			c.failed(syntaxError)
			return
		}
		if seen[string(a)] {
			c.failed(syntaxError)
			return
		}
		seen[string(a)] = true
	}
	c.h.o.Logger.Info("shutdown asked for", "by", c.rc.RemoteAddr(), "name", c.sc.Name())
	c.rc.CloseAfterFlush()
	c.h.o.Shutdown()
}

// bulkUint writes a number as a string, where Redis does.
func bulkUint(w *resp.Writer, n uint64) {
	var digits [20]byte
	w.Bulk(strconv.AppendUint(digits[:0], n, 10))
}
