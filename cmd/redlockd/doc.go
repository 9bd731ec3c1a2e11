// Command redlockd is a durable lock server that speaks the Redis protocol.
//
// This package is the life of the process and the wiring of its rooms: it reads
// the options (internal/options), binds the sockets, opens store, sessions,
// cluster, commands and resp in that order, serves until a signal or SHUTDOWN,
// and closes them the other way round. It knows every room and holds no logic
// of any.
//
//	main ─► command (cobra) ─► serve ─► bind ─► open (wire.go) ─► serve ─► stop
//
// Nobody waits for the log (lines.go): where whoever takes it stalls, lines are missing,
// and the log says how many.
//
// Exit codes: 0 after an orderly stop, 1 if it could not start (or was told
// something it does not understand), 75 if it had to end because it could not
// go on safely (the disk failed or hung), 128 + the signal's number if a second
// signal came during the stop. SIGHUP and SIGPIPE are ignored.
package main
