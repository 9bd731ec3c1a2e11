// Package peer is the one port between nodes: the streams of hashicorp/raft and
// the forward links of package cluster, told apart by the first byte of a
// connection.
//
// It owns: the listener; the handshake (protocol version, cluster id, node id,
// disk id, each side to the other); TLS; frames, their queue and their limits;
// the end of a link that is silent or too slow; requests with answers over a
// link.
//
// It never knows what a frame means, who leads, or who is a member: Options.Check
// says who may connect, Handler gets the frames. It never connects anew: who
// needs a link calls Connect again. It never imports cluster or fsm.
//
// What a connection is, from the first byte (inside TLS, where there is any):
//
//	dialer                                    listener
//	'R' or 'F', "rlkd", hello ─────────────▶  version, cluster, name, Check
//	version, cluster, name, Check  ◀───────── '+' hello, or '-' refusal and close
//	'+', or '-' refusal and close  ─────────▶
//	'R': the bytes of raft.NetworkTransport, both ways
//	'F': frames, both ways: length (4 bytes, big endian), type (1), payload
//
// A Send writes by itself when nobody else is writing, without a timer and without
// another goroutine; what comes during a write goes out together in the next one:
//
//	Send ─ append to pending ─ idle? ─▶ one write that does not block ─ all gone: idle
//	            │                                      │
//	            └─ writing: done, goes with the next   └─ a rest: the link's writer
//	                                                      goroutine, with a deadline
//
// Only a plain TCP socket can be written without blocking; over TLS, and over
// connections in memory, the writer goroutine writes from the start. A queue that
// is full resets the link: a node that reads too slowly must not hold back the
// apply loop of another.
//
// The goroutines of a link: the reader (calls Handler), the writer (also pings), and
// one for each request being answered. Locks: Network.mu and Link.mu
// are never held while a Handler, Check, Hello or Refused runs, nor during a
// write; neither is taken under the other.
package peer
