// Package resp is the wire: it accepts clients, finds their commands in what they send, hands them to a Handler
// and sends the replies. It owns sockets, buffers, limits and deadlines. It never knows what a lock is, and never
// blocks on anything but its own clients.
//
//	socket ─► reader goroutine ─► framer ─► redcon ─► Handler.Command ... Handler.Burst
//	  ▲         one per client     whole,    splits     │ answers now: Begin, write, End(0)
//	  │                            valid                │ or later:    Hold ... Begin, write, End(1)
//	  │                            frames               ▼ (by any goroutine)
//	  └──── one write that does not wait ◄── Flush ◄── output buffer (locked between Begin and End)
//	        the rest, if the client is slow: a drain goroutine, as long as there is a rest
//
// # redcon behind a guard
//
// redcon v1.6.4 parses and encodes RESP2, quickly; left alone with a socket it can be made to panic, to spin or to
// overflow its stack by a few bytes, and it knows no limits. So it sees whole frames only, which our framer has
// found valid: the framer checks every number and length, is a loop without recursion, looks at each byte once
// however a frame is cut into pieces, and stops at the Limits. Commands typed as a line are split by our own
// code, which knows all of Redis's escapes. RESP3 is ours too.
//
// # The reader
//
// Each connection has one goroutine, which reads, runs the commands of what it read, ends the burst, flushes and
// reads again. While replies are outstanding it goes on reading, so that a client which goes away is seen at once.
// A command that must wait for earlier replies (Handler.Command returned false) stays in the buffer and is tried
// again when none is outstanding. Where the pipeline's limits are reached the reader stops reading and only
// watches for the end of the connection (POLLRDHUP). Whoever brings what the reader sleeps for kicks it with a
// read deadline in the past; so there is one place to sleep, the network poller, and no second goroutine.
//
// # Memory
//
// A sleeping reader owns no buffers: input blocks and output buffers are pooled and held only while they have
// bytes in them. A connection costs its goroutine's stack, its socket and about half a kilobyte. What clients do not
// read is bounded three times: above Limits.Output no more of a client's commands run, above OutputHard it is closed,
// and where all together leave more than OutputTotal, those that leave most are (relief.go). Only output that a drain
// writes counts for that, so it costs nothing where clients read.
package resp
