package peer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redlockd/redlockd/cluster/peer/peertest"
)

// authority is a CA made for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	made int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.key = newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(a.dir, "ca.pem"), "CERTIFICATE", der)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func writePEM(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue writes a node's files; it names host, and change may alter it.
func (a *authority) issue(name, host string, change func(*x509.Certificate)) *TLS {
	a.t.Helper()
	a.made++
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1 + a.made), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if ip := net.ParseIP(host); ip != nil {
		tmpl.IPAddresses = []net.IP{ip}
	} else {
		tmpl.DNSNames = []string{host}
	}
	if change != nil {
		change(tmpl)
	}
	key := newKey(a.t)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	f := &TLS{CertFile: filepath.Join(a.dir, name+".pem"), KeyFile: filepath.Join(a.dir, name+".key"), CAFile: filepath.Join(a.dir, "ca.pem")}
	writePEM(a.t, f.CertFile, "CERTIFICATE", der)
	writePEM(a.t, f.KeyFile, "EC PRIVATE KEY", keyDER)
	return f
}

func with(f *TLS) func(*Options) { return func(o *Options) { o.TLS = f } }

func TestTLSBothWays(t *testing.T) {
	ca := newAuthority(t)
	a := onLoopback(t, "n1", with(ca.issue("n1", "127.0.0.1", nil)))
	b := onLoopback(t, "n2", with(ca.issue("n2", "127.0.0.1", nil)))
	l := connect(t, a, b)
	back := b.link(t)
	for _, link := range []*Link{l, back} {
		tc, ok := link.conn.(*tls.Conn)
		if !ok || tc.ConnectionState().Version != tls.VersionTLS13 || len(tc.ConnectionState().VerifiedChains) == 0 {
			t.Fatalf("%v is not TLS 1.3 with a verified peer", link)
		}
		if link.raw != nil {
			t.Fatal("TLS would be bypassed")
		}
	}
	big := strings.Repeat("x", 1<<20)
	for range 5 {
		if err := errors.Join(l.Send(1, []byte(big)), back.Send(2, []byte("b")), l.Send(3, nil)); err != nil {
			t.Fatal(err)
		}
	}
	a.wait(t, "frames", func() bool { return len(a.frames) == 5 && a.frames[4] == "2:b" })
	b.wait(t, "frames", func() bool { return len(b.frames) == 10 && b.frames[8] == "1:"+big && b.frames[9] == "3:" })
	b.request = func(_ context.Context, _ *Link, _ byte, p []byte) ([]byte, error) { return p, nil }
	if p, err := l.Request(context.Background(), 1, []byte("hi")); string(p) != "hi" || err != nil {
		t.Errorf("%q %v", p, err)
	}
	l.Close()
	if err := b.end(t); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

func TestTLSRefusals(t *testing.T) {
	ca, foreign := newAuthority(t), newAuthority(t)
	good := ca.issue("good", "127.0.0.1", nil)
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	wrongCA := foreign.issue("foreign", "127.0.0.1", nil)
	// Trusts our CA, but is not signed by it.
	wrongCA.CAFile = good.CAFile
	for _, c := range []struct {
		name         string
		dialer, host func(*Options)
		code         string
	}{
		{name: "the dialer's CA is another", dialer: with(wrongCA), host: with(good)},
		{name: "the host's CA is another", dialer: with(good), host: with(wrongCA)},
		{name: "the dialer speaks no TLS", dialer: nil, host: with(good)},
		{name: "the host speaks no TLS", dialer: with(good), host: nil},
		{name: "the dialer's certificate is over", dialer: with(ca.issue("old1", "127.0.0.1", expired)), host: with(good)},
		{name: "the host's certificate is over", dialer: with(good), host: with(ca.issue("old2", "127.0.0.1", expired))},
		{name: "the host's certificate names another", dialer: with(good), host: func(o *Options) {
			o.TLS, o.Advertise = ca.issue("elsewhere", "n9.example", nil), "n9.example:1"
		}},
		{name: "the dialer's certificate does not name what it says", code: CodeName, host: with(good), dialer: func(o *Options) {
			o.TLS = good
			o.Hello = func() Hello { return Hello{Cluster: "c1", Addr: "n9.example:1"} }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := onLoopback(t, "n1", c.dialer), onLoopback(t, "n2", c.host)
			_, port, err := net.SplitHostPort(b.listenAddr())
			if err != nil {
				t.Fatal(err)
			}
			_, err = a.Connect(context.Background(), "127.0.0.1:"+port)
			var r *Refusal
			if err == nil || c.code != "" && (!errors.As(err, &r) || r.Code != c.code || !r.Remote) {
				t.Fatalf("Connect: %v", err)
			}
			for _, n := range []*node{a, b} {
				n.Close()
				if len(n.opened) != 0 {
					t.Error("a link was opened")
				}
			}
		})
	}
}

func (n *node) listenAddr() string { return n.o.Listener.Addr().String() }

func TestTLSFilesAreChecked(t *testing.T) {
	ca := newAuthority(t)
	good := ca.issue("good", "127.0.0.1", nil)
	broken := filepath.Join(t.TempDir(), "broken.pem")
	if err := os.WriteFile(broken, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	change := func(f func(*TLS)) *TLS {
		c := *good
		f(&c)
		return &c
	}
	other := ca.issue("other", "127.0.0.1", nil)
	for name, c := range map[string]struct {
		files *TLS
		want  string
	}{
		"no such file":            {change(func(f *TLS) { f.CertFile = "nowhere.pem" }), "nowhere.pem"},
		"broken certificate":      {change(func(f *TLS) { f.CertFile = broken }), broken},
		"broken key":              {change(func(f *TLS) { f.KeyFile = broken }), broken},
		"another's key":           {change(func(f *TLS) { f.KeyFile = other.KeyFile }), other.KeyFile},
		"broken CA":               {change(func(f *TLS) { f.CAFile = broken }), broken},
		"does not name the host":  {ca.issue("name", "n9.example", nil), "advertised address"},
		"not for servers":         {ca.issue("client", "127.0.0.1", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }), "extended key usage"},
		"not for clients":         {ca.issue("server", "127.0.0.1", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }), "extended key usage"},
		"for any use, no failure": {ca.issue("any", "127.0.0.1", func(c *x509.Certificate) { c.ExtKeyUsage = nil }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			n, err := New(Options{NodeID: "n1", Listener: l, TLS: c.files})
			switch {
			case err == nil:
				n.Close()
				if c.want != "" {
					t.Error("accepted")
				}
			case c.want == "" || !strings.Contains(err.Error(), c.want):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestTLSFilesAreReadAgain(t *testing.T) {
	ca := newAuthority(t)
	files := ca.issue("n1", "127.0.0.1", nil)
	a := onLoopback(t, "n1", with(files))
	b := onLoopback(t, "n2", with(ca.issue("n2", "127.0.0.1", nil)))
	serial := func(l *Link) int64 {
		return l.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	first := serial(connect(t, b, a))
	ca.issue("n1", "127.0.0.1", nil) // over the files
	second := serial(connect(t, b, a))
	if first == second {
		t.Error("the new certificate is not used")
	}
	if err := os.WriteFile(files.CertFile, []byte("half writ"), 0o600); err != nil {
		t.Fatal(err)
	}
	if third := serial(connect(t, b, a)); third != second {
		t.Error("the last good certificate is not used")
	}
}

func TestWithoutTLSOnlyLoopback(t *testing.T) {
	listen := func(t *testing.T, addr string) net.Listener {
		t.Helper()
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	t.Run("listening", func(t *testing.T) {
		for _, c := range []struct {
			listen, advertise string
			insecure, ok      bool
		}{
			{"127.0.0.1:0", "", false, true},
			{"127.0.0.1:0", "localhost:1", false, true},
			{"0.0.0.0:0", "127.0.0.1:1", false, false},
			{"127.0.0.1:0", "192.0.2.1:1", false, false},
			{"127.0.0.1:0", "[2001:db8::1]:1", false, false},
			{"0.0.0.0:0", "192.0.2.1:1", true, true},
		} {
			n, err := New(Options{NodeID: "n1", Listener: listen(t, c.listen), Advertise: c.advertise, Insecure: c.insecure})
			if n != nil {
				n.Close()
			}
			if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrInsecure) {
				t.Errorf("%+v: %v", c, err)
			}
		}
	})
	t.Run("dialing", func(t *testing.T) {
		dialed := 0
		n := onLoopback(t, "n1", func(o *Options) {
			o.Dial = func(context.Context, string) (net.Conn, error) {
				dialed++
				c, _ := net.Pipe()
				return from{c, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}}, nil
			}
		})
		for _, addr := range []string{"192.0.2.1:1", "[2001:db8::1]:1", "name.example:1"} {
			if _, err := n.Connect(context.Background(), addr); !errors.Is(err, ErrInsecure) {
				t.Errorf("%s: %v", addr, err)
			}
			if _, err := n.StreamLayer().Dial("192.0.2.1:1", time.Second); !errors.Is(err, ErrInsecure) {
				t.Errorf("%s: %v", addr, err)
			}
		}
		if dialed != 1 {
			t.Errorf("%d dials, want one, of the name", dialed)
		}
	})
	t.Run("accepting", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			for _, insecure := range []bool{false, true} {
				m := peertest.New()
				l, err := m.Listen("n2")
				if err != nil {
					t.Fatal(err)
				}
				b := start(t, "n2", abroad{l}, func(o *Options) { o.Insecure = insecure })
				conn := dialRaw(t, m, "n1", b.addr)
				_, _ = conn.Write([]byte("Frlkd"))
				_ = conn.SetReadDeadline(time.Now().Add(time.Second))
				_, err = conn.Read(make([]byte, 1))
				if waits := errors.Is(err, os.ErrDeadlineExceeded); waits != insecure {
					t.Errorf("insecure %v: %v", insecure, err)
				}
				conn.Close()
				b.Close()
			}
		})
	})
}

// from is a connection with the remote address of another machine.
type from struct {
	net.Conn
	addr net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

// abroad accepts from another machine, at an address that is local.
type abroad struct{ net.Listener }

func (a abroad) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	return from{c, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}}, err
}
