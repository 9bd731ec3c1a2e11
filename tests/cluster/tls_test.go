package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redlockd/redlockd/tests/harness"
)

// authority is a CA of the test's own.
type authority struct {
	t    *testing.T
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	ca   string // its file
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, &a.key.PublicKey)
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.ca = a.write("ca.pem", "CERTIFICATE", der)
	return a
}

// sign makes a certificate; parent nil: by itself.
func (a *authority) sign(cert, parent *x509.Certificate, key *ecdsa.PublicKey) []byte {
	a.t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	cert.SerialNumber = serial
	cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent = cert
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// node makes the certificate of a node at a host, and returns the flags that use it.
func (a *authority) node(host string) []string {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "node"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return []string{
		"--peer-tls-cert", a.write(host+".pem", "CERTIFICATE", a.sign(template, a.cert, &key.PublicKey)),
		"--peer-tls-key", a.write(host+".key", "EC PRIVATE KEY", der), "--peer-tls-ca", a.ca,
	}
}

// hangsUp speaks to a node's port for peers and returns why the node did not go on.
func hangsUp(t *testing.T, n *harness.Node, speak func(net.Conn) error) error {
	t.Helper()
	conn, err := net.DialTimeout("tcp", n.PeerListen(), harness.Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(harness.Patience)); err != nil {
		t.Fatal(err)
	}
	return speak(conn)
}

// TestPeersSpeakTLS: nodes with certificates of one CA form a cluster; nobody else gets in.
func TestPeersSpeakTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	flags := ours.node("127.0.0.1")
	c := harness.StartCluster(t, 3, flags...)
	holder, next := c.Node(1).Client(), c.Node(2).Client()
	fence := holder.Int("LOCK secret-" + strings.Repeat("x", 20))
	waits(t, c.Node(3), next, "LOCK secret-"+strings.Repeat("x", 20))
	holder.Close()
	rising(t, fence, fenceOf(t, next))
	c.Leader().Kill() // over new connections, too
	rising(t, fence, c.Up()[0].Client().Int("LOCK other"))
	c.StartAll()

	// A stranger who speaks the peers' protocol without TLS, and TLS of an older version, and has no certificate.
	n := c.Node(1)
	if err := hangsUp(t, n, func(conn net.Conn) error {
		if _, err := conn.Write([]byte("Frlkd")); err != nil {
			return err
		}
		got, err := io.ReadAll(conn)
		if len(got) > 0 && got[0] != 21 { // an alert of TLS
			t.Errorf("a stranger without TLS was told %q", got)
		}
		return err
	}); err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("a stranger without TLS: %v", err)
	}
	cert, err := tls.LoadX509KeyPair(flags[1], flags[3])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ours.cert)
	for name, cfg := range map[string]*tls.Config{
		"TLS 1.2":                        {RootCAs: pool, ServerName: "127.0.0.1", Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12},
		"no certificate":                 {RootCAs: pool, ServerName: "127.0.0.1"},
		"a certificate of another one's": {RootCAs: pool, ServerName: "127.0.0.1", GetClientCertificate: certOf(t, theirs.node("127.0.0.1"))},
	} {
		err := hangsUp(t, n, func(conn net.Conn) error {
			tc := tls.Client(conn, cfg)
			if err := tc.Handshake(); err != nil {
				return err
			}
			if _, err := tc.Write([]byte("Frlkd")); err != nil {
				return err
			}
			_, err := tc.Read(make([]byte, 1)) // the server tells here what it thinks of the certificate
			return err
		})
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}

	// Nodes: with a certificate of another CA, without TLS, with a certificate for another host.
	for name, more := range map[string][]string{
		"certificate": theirs.node("127.0.0.1"),
		"plain":       nil,
	} {
		stranger := c.Add(n)
		stranger.SetArgs(append([]string{"--node-id", stranger.ID, "--peer-advertise", stranger.PeerAddr, "--join", n.PeerAddr}, more...)...)
		stranger.Launch()
		says(t, stranger, "joining has not succeeded yet")
		t.Logf("%s: %s", name, lastWith(stranger, "joining has not succeeded yet"))
		stays(t, c, stranger)
	}
	out := harness.Run(t, append([]string{"--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0"}, ours.node("elsewhere.example")...)...)
	if out.Code == 0 || !strings.Contains(out.Output, "must name the host of the advertised address") {
		t.Errorf("a certificate for another host: exit code %d\n%s", out.Code, out.Output)
	}
}

// certOf returns the certificate of flags that node made, whatever the server asks for.
func certOf(t *testing.T, flags []string) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(flags[1], flags[3])
	if err != nil {
		t.Fatal(err)
	}
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
}

func lastWith(n *harness.Node, text string) string {
	line, _ := n.Process().Log().Find(text)
	return line
}

// TestPeersBeyondThisMachine: without TLS nodes speak on this machine only, unless they are told otherwise.
func TestPeersBeyondThisMachine(t *testing.T) {
	t.Parallel()
	base := []string{"--listen", "127.0.0.1:0", "--node-id", "n1"}
	for _, flags := range [][]string{
		{"--peer-listen", "0.0.0.0:0", "--peer-advertise", "10.0.0.1:17379"},
		{"--peer-listen", "127.0.0.1:0", "--join", "10.0.0.1:17379"},
		{"--initial-cluster", "n1=127.0.0.1:17379,n2=10.0.0.2:17379,n3=127.0.0.1:17381"},
	} {
		out := harness.Run(t, append(flags, base...)...)
		if out.Code == 0 || !strings.Contains(out.Output, "is beyond this machine") || !strings.Contains(out.Output, "--insecure-peers") {
			t.Errorf("%v: exit code %d\n%s", flags, out.Code, out.Output)
		}
	}
	s := harness.Start(t, "--insecure-peers", "--peer-listen", "0.0.0.0:0", "--peer-advertise", "10.0.0.1:17379")
	if _, ok := s.Process().Log().Find("whoever reaches"); !ok {
		t.Errorf("it does not warn:\n%s", s.Process().Log().Tail(5))
	}
}
