package peer

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
)

// TLS names PEM files: this node's certificate (chain) and key, and the CA that signs all nodes' certificates, and
// nothing else: whoever has a certificate of it is taken for a node. A certificate names the host of the node's
// advertised address and allows client and server use. The files are read again when they change, at the next
// handshake; what does not load is logged, and the last good ones stay.
type TLS struct {
	CertFile, KeyFile, CAFile string
}

// identity is the loaded form of TLS.
type identity struct {
	files TLS
	log   *slog.Logger

	mu  sync.Mutex
	raw [3][]byte
	cfg *tls.Config
}

func loadTLS(files TLS, advertise string, log *slog.Logger) (*identity, error) {
	id := &identity{files: files, log: log}
	if err := id.load(); err != nil {
		return nil, err
	}
	leaf := id.cfg.Certificates[0].Leaf
	if err := leaf.VerifyHostname(hostOf(advertise)); err != nil {
		return nil, fmt.Errorf("peer: %s must name the host of the advertised address %s: %w", files.CertFile, advertise, err)
	}
	all := slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) || len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if !all && !slices.Contains(leaf.ExtKeyUsage, use) {
			return nil, fmt.Errorf("peer: %s must allow both server and client authentication (extended key usage)", files.CertFile)
		}
	}
	return id, nil
}

// load reads the files and makes the configuration anew if they changed.
func (id *identity) load() error {
	var raw [3][]byte
	for i, name := range []string{id.files.CertFile, id.files.KeyFile, id.files.CAFile} {
		b, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("peer: read TLS file: %w", err)
		}
		raw[i] = b
	}
	if id.cfg != nil && slices.EqualFunc(raw[:], id.raw[:], bytes.Equal) {
		return nil
	}
	cert, err := tls.X509KeyPair(raw[0], raw[1])
	if err != nil {
		return fmt.Errorf("peer: certificate %s with key %s: %w", id.files.CertFile, id.files.KeyFile, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw[2]) {
		return fmt.Errorf("peer: no certificate in CA file %s", id.files.CAFile)
	}
	id.raw = raw
	id.cfg = &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{cert},
		RootCAs:      pool,
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		// A resumed session would outlive the certificate it was made with.
		SessionTicketsDisabled: true,
	}
	return nil
}

// config returns the newest configuration that loads; not to be changed.
func (id *identity) config() *tls.Config {
	id.mu.Lock()
	defer id.mu.Unlock()
	if err := id.load(); err != nil {
		id.log.Error("the changed TLS files do not load, the old ones stay in use", "error", err)
	}
	return id.cfg
}

// secure puts TLS on a connection and does its handshake under the deadline of conn. Without TLS it returns conn.
func (n *Network) secure(conn net.Conn, dialed string) (net.Conn, error) {
	if n.tls == nil {
		return conn, nil
	}
	cfg := n.tls.config()
	var tc *tls.Conn
	if dialed == "" {
		tc = tls.Server(conn, cfg)
	} else {
		cfg = cfg.Clone()
		cfg.ServerName = hostOf(dialed)
		tc = tls.Client(conn, cfg)
	}
	if err := tc.Handshake(); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return tc, nil
}

// nameOf checks that the certificate of a node that came to us names the host that it advertises. (That of a node we
// dialed was checked for the dialed host.)
func nameOf(conn net.Conn, h *Hello) error {
	tc, ok := conn.(*tls.Conn)
	if !ok || h.Dialed != "" {
		return nil
	}
	certs := tc.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return errors.New("no certificate")
	}
	if err := certs[0].VerifyHostname(hostOf(h.Addr)); err != nil {
		return &Refusal{Code: CodeName, Text: fmt.Sprintf("the certificate of node %s does not name the host of its advertised address %s: %v", h.Node, h.Addr, err)}
	}
	return nil
}

func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}

// plain returns the connection below TLS.
func plain(conn net.Conn) net.Conn {
	if tc, ok := conn.(*tls.Conn); ok {
		return tc.NetConn()
	}
	return conn
}
