// Package options declares every option of redlockd once: its flag, its
// environment variable, its key in the configuration file, its type, range,
// default and help, whether CONFIG SET changes it while the node serves, and
// whether it belongs to this node or to the cluster. Help, shell completion,
// CONFIG GET and SET, `redlockd config` and docs/configuration.md are all made
// from that table.
//
//	defaults ─┐
//	file ─────┤  Load: the last one that names an option wins,
//	REDLOCKD_*┤  a name that no option has is an error      ──► Config ──► Live (CONFIG GET/SET)
//	flags ────┘
//
// It opens no socket, no directory and no log; the only files it reads are the
// configuration file and the password file.
package options

//go:generate go test -run TestPageIsFresh -update .
