package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/redlockd/redlockd/cmd/redlockd/internal/options"
)

// sockets are what a node listens on.
type sockets struct {
	clients  []net.Listener
	sentinel []net.Listener // none, or one
	peers    []net.Listener // none, or one
}

// bindAll opens all listening sockets. Clients may connect to them from now on,
// but nobody is accepted before the server runs.
func bindAll(cfg *options.Config) (*sockets, error) {
	s := &sockets{}
	var err error
	if s.clients, err = bind("--listen", cfg.Listen); err != nil {
		return nil, err
	}
	if cfg.SentinelListen != "" {
		if s.sentinel, err = bind("--sentinel-listen", []string{cfg.SentinelListen}); err != nil {
			s.unbind()
			return nil, err
		}
	}
	if cfg.Clustered() {
		if s.peers, err = bind("--peer-listen", []string{cfg.PeerListen}); err != nil {
			s.unbind()
			return nil, err
		}
	}
	return s, nil
}

// clientPorts is how many servers count their clients by themselves.
func (s *sockets) clientPorts() int64 { return int64(1 + len(s.sentinel)) }

func (s *sockets) unbind() {
	unbind(s.clients)
	unbind(s.sentinel)
	unbind(s.peers)
}

// bind opens the sockets of one option.
func bind(flag string, addresses []string) ([]net.Listener, error) {
	var bound []net.Listener
	for _, one := range addresses {
		l, err := bindOne(flag, one)
		if err != nil {
			unbind(bound)
			return nil, err
		}
		bound = append(bound, l)
	}
	return bound, nil
}

func unbind(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close() // nothing was accepted: nothing is lost
	}
}

func bindOne(flag, address string) (net.Listener, error) {
	a, err := options.ParseAddress(address)
	if err != nil {
		return nil, err
	}
	if a.Network == "unix" {
		if err = clearSocket(a.Addr); err != nil {
			return nil, err
		}
	}
	var config net.ListenConfig
	l, err := config.Listen(context.Background(), a.Network, a.Addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("cannot listen on %s: it is in use, perhaps by another redlockd: stop that one, or choose another with %s", address, flag)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("cannot listen on %s: this user may not: choose another with %s: %w", address, flag, err)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s: choose another with %s: %w", address, flag, err)
	}
	return l, nil
}

// clearSocket removes the socket that a killed process left behind; one that
// somebody answers on, and a file that is no socket, stay.
func clearSocket(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot listen on unix:%s: %w", path, err)
	}
	if info.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("cannot listen on unix:%s: there is a file there that is no socket: choose another with --listen", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close() // only asked whether somebody is there
		return fmt.Errorf("cannot listen on unix:%s: it is in use, perhaps by another redlockd: stop that one, or choose another with --listen", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("cannot listen on unix:%s: the socket there does not tell whether it is in use: %w", path, err)
	}
	return os.Remove(path)
}

// names lists where the sockets really are (port 0 has become one by now).
func names(listeners []net.Listener) []string {
	var list []string
	for _, l := range listeners {
		name := l.Addr().String()
		if l.Addr().Network() == "unix" {
			name = "unix:" + name
		}
		list = append(list, name)
	}
	return list
}

// spareFiles is what the process needs besides its clients: the store's files (some
// 130), peers (up to 256), logs.
const spareFiles = 512

// fitFiles returns how many clients at a time may come to each of the ports, at most
// max-clients, so that they leave the store its files: where it can not make one, it ends
// the process. The error says that these are fewer than max-clients. (Go raises the soft
// limit to the hard one by itself.)
func fitFiles(maxClients, ports int64) (int64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return maxClients, fmt.Errorf("the limit of open files cannot be read: %w", err)
	}
	files := int64(min(limit.Cur, 1<<40))
	fit := max(files-spareFiles, files/4) / ports
	if fit >= maxClients {
		return maxClients, nil
	}
	return fit, fmt.Errorf("max-clients %d needs %d open files, but the system allows %d, enough for %d: raise the limit (ulimit -n, LimitNOFILE=) or lower max-clients",
		maxClients, maxClients*ports+spareFiles, limit.Cur, fit)
}
