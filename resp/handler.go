package resp

// Handler is what a server does with its connections. Connect, Command, Burst and Closed of one
// connection are called by that connection's reader goroutine, so never two of them at once; those of
// different connections run concurrently. A panic in any of them closes that connection alone, with
// "-ERR internal error", and is logged with its stack.
type Handler interface {
	// Connect is called when a client was accepted, before anything is read from it. What it returns is
	// c.State() from then on. An error refuses the client: its text is sent as an error reply (with ERR in
	// front if it does not start with a code in capitals), the connection is closed and Closed is not called.
	// Where a password is required, this is the place for c.SetAuthenticated(false).
	Connect(c *Conn) (state any, err error)

	// Command runs one command. args has at least one element; it and what it points to are valid during the
	// call only and must not be written to. The reply is written here between c.Begin and c.End(0), or
	// promised with c.Hold and written later, by any goroutine, between c.Begin and c.End(1).
	//
	// false means: not now, an earlier reply is outstanding and this command has to wait for it. The frame is
	// kept and Command is called with it again once c.Outstanding() is 0; nothing behind it runs before.
	// false while nothing is outstanding is a bug of the handler and closes the connection.
	Command(c *Conn, args [][]byte) bool

	// Burst is called after the last command of what one read brought, and before the reader waits for
	// anything: the place to propose what the commands gathered. The output is flushed once after it.
	Burst(c *Conn)

	// Closed is called exactly once for each connection whose Connect returned no error, at once when the
	// client is seen to be gone or when this side closes. err says why: io.EOF or a network error when the
	// client went away, else one of this package's errors. Replies written after it go nowhere.
	Closed(c *Conn, err error)
}
