package peer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"
)

// script is a connection that says what it was given and takes whatever comes.
type script struct {
	in     *bytes.Reader
	out    bytes.Buffer
	closed bool
}

func (s *script) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { s.closed = true; return nil }
func (s *script) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (s *script) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

func fuzzNetwork(f *testing.F) *Network {
	f.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	n, err := New(Options{NodeID: "n1", Listener: l, Logger: slog.New(slog.DiscardHandler), Hello: func() Hello { return Hello{Cluster: "c1"} }})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { n.Close() })
	return n
}

// FuzzHandshake plays both sides against any bytes: no panic, a Hello only from a whole and right one, no byte read
// that belongs to what follows.
func FuzzHandshake(f *testing.F) {
	n := fuzzNetwork(f)
	body := appendHello(nil, &Hello{Cluster: "c1", Node: "n2", Disk: "d", Addr: "a:1", Version: versionNewest, Oldest: versionOldest})
	framed := func(head string, body []byte) []byte {
		return append(binary.BigEndian.AppendUint16([]byte(head), uint16(len(body))), body...)
	}
	f.Add(append(framed("Frlkd", body), "+\x00\x00rest"...))
	f.Add(append(framed("Rrlkd", body), framed("-", appendRefusal(nil, &Refusal{Code: "A", Text: "b"}))...))
	f.Add(append(framed("+", body), "rest"...))
	f.Add(framed("-", appendRefusal(nil, &Refusal{Code: "A", Text: "b\xff"})))
	f.Add([]byte("GET / HTTP/1.1"))
	f.Add(framed("Frlkd", []byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}))
	f.Fuzz(func(t *testing.T, said []byte) {
		s := &script{in: bytes.NewReader(said)}
		if h, err := n.handshaker(s).came(func(Stream) error { return nil }); err == nil {
			checkHello(t, h)
			if s.out.Len() == 0 || s.out.Bytes()[0] != accepted {
				t.Error("accepted without saying so")
			}
			used := len(said) - s.in.Len()
			size := int(binary.BigEndian.Uint16(said[5:]))
			if want := 7 + size + 3 + int(binary.BigEndian.Uint16(said[8+size:])); used != want {
				t.Errorf("%d bytes were read, the handshake has %d", used, want)
			}
		}
		s = &script{in: bytes.NewReader(said)}
		if h, err := n.handshaker(s).dialed(StreamForward, "x"); err == nil {
			checkHello(t, h)
			if used, want := len(said)-s.in.Len(), 3+int(binary.BigEndian.Uint16(said[1:])); used != want {
				t.Errorf("%d bytes were read, the answer has %d", used, want)
			}
		}
	})
}

func checkHello(t *testing.T, h Hello) {
	t.Helper()
	if h.Node == "" || h.Node == "n1" || h.Cluster != "" && h.Cluster != "c1" || h.Oldest > versionNewest || h.Version < versionOldest {
		t.Errorf("accepted %+v", h)
	}
}

// FuzzFrames reads any bytes as frames: no panic, no frame over the limit, and what was read encodes to what was there.
func FuzzFrames(f *testing.F) {
	frame := func(typ byte, p string) []byte { return append(appendFrameHead(nil, typ, len(p)), p...) }
	f.Add(append(frame(1, "hello"), frame(framePing, "")...), uint16(100))
	f.Add(frame(2, string(make([]byte, 300))), uint16(200))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, uint16(65535))
	f.Add([]byte{0, 0, 0, 0, 0}, uint16(1))
	f.Fuzz(func(t *testing.T, said []byte, most uint16) {
		r := newFrameReader(bytes.NewReader(said), int(most))
		var back []byte
		for {
			typ, payload, err := r.next()
			if err != nil {
				if errors.Is(err, io.EOF) && len(back) != len(said) {
					t.Error("a clean end in the middle of a frame")
				}
				break
			}
			if len(payload) > int(most) {
				t.Errorf("a frame of %d bytes, %d allowed", len(payload), most)
			}
			back = append(appendFrameHead(back, typ, len(payload)), payload...)
		}
		if !bytes.HasPrefix(said, back) {
			t.Errorf("%x was read as %x", said, back)
		}
	})
}

// FuzzLink gives any bytes to a link behind its handshake: requests and answers too.
func FuzzLink(f *testing.F) {
	n := fuzzNetwork(f)
	r := newRecorder()
	r.request = func(_ context.Context, _ *Link, _ byte, p []byte) ([]byte, error) { return p, nil }
	n.handler = r
	f.Add(append(append(appendFrameHead(nil, frameRequest, 3), 1, 2, 3), append(appendFrameHead(nil, frameAnswer, 3), 1, '+', 3)...))
	f.Add(append(appendFrameHead(nil, frameAnswer, 6), 1, '-', 1, 'A', 1, 'b'))
	f.Fuzz(func(t *testing.T, said []byte) {
		s := &script{in: bytes.NewReader(said)}
		l, err := n.open(s, Hello{Node: "n2"})
		if err != nil {
			t.Fatal(err)
		}
		l.run()
		n.all.Done()
		if !s.closed || l.Err() == nil {
			t.Error("the link goes on without a connection")
		}
	})
}
