package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redlockd/redlockd/cluster/peer/peertest"
)

func TestRequests(t *testing.T) {
	both(t, func(t *testing.T, open func(string, func(*Options)) *node) {
		a, b := open("n1", nil), open("n2", nil)
		b.request = func(_ context.Context, l *Link, kind byte, p []byte) ([]byte, error) {
			switch kind {
			case 1:
				slices.Reverse(p) // it is the handler's
				return p, nil
			case 2:
				return nil, fmt.Errorf("no: %w", &Refusal{Code: "QUORUM", Text: "it would lose quorum"})
			case 3:
				return make([]byte, 2<<20), nil
			case 4:
				return l.Request(context.Background(), 9, p) // back to the asker
			}
			return nil, errors.New("no such kind")
		}
		a.request = func(_ context.Context, _ *Link, kind byte, p []byte) ([]byte, error) {
			return fmt.Appendf(nil, "%d %s", kind, p), nil
		}
		l := connect(t, a, b)
		ask := func(kind byte, body string) (string, error) {
			p, err := l.Request(context.Background(), kind, []byte(body))
			return string(p), err
		}
		if p, err := ask(1, "abc"); p != "cba" || err != nil {
			t.Errorf("%q %v", p, err)
		}
		if p, err := ask(1, ""); p != "" || err != nil {
			t.Errorf("empty: %q %v", p, err)
		}
		if p, err := ask(4, "x"); p != "9 x" || err != nil {
			t.Errorf("there and back: %q %v", p, err)
		}
		var r *Refusal
		if _, err := ask(2, ""); !errors.As(err, &r) || *r != (Refusal{"QUORUM", "no: it would lose quorum", true}) {
			t.Errorf("refused: %v (%+v)", err, r)
		}
		if _, err := ask(5, ""); !errors.As(err, &r) || *r != (Refusal{CodeRefused, "no such kind", true}) {
			t.Errorf("an error: %v (%+v)", err, r)
		}
		if _, err := ask(3, ""); !errors.As(err, &r) {
			t.Errorf("an answer over the limit: %v", err)
		}
		if _, err := l.Request(context.Background(), 1, bytes.Repeat([]byte{1}, 2<<20)); !errors.Is(err, ErrTooBig) {
			t.Errorf("a request over the limit: %v", err)
		}
		if p, err := ask(1, "still here"); p != "ereh llits" || err != nil {
			t.Errorf("%q %v", p, err)
		}
		if len(l.calls.open) != 0 {
			t.Error("a request is remembered")
		}
	})
}

func TestRequestsAtOnceDoNotMix(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := peertest.New()
		a, b := inMemory(t, m, "n1", nil), inMemory(t, m, "n2", nil)
		b.request = func(_ context.Context, _ *Link, kind byte, p []byte) ([]byte, error) {
			time.Sleep(time.Duration(20-kind) * time.Second) // the others come meanwhile
			return p, nil
		}
		l := connect(t, a, b)
		type result struct {
			kind byte
			body []byte
			err  error
		}
		done := make(chan result)
		for kind := range byte(maxAsked) {
			go func() {
				p, err := l.Request(context.Background(), kind, bytes.Repeat([]byte{kind}, 100))
				time.Sleep(time.Minute) // other answers come meanwhile
				done <- result{kind, p, err}
			}()
		}
		for range maxAsked {
			if r := <-done; r.err != nil || !bytes.Equal(r.body, bytes.Repeat([]byte{r.kind}, 100)) {
				t.Errorf("request %d: %v %v", r.kind, r.body, r.err)
			}
		}
	})
}

func TestRequestsEndWithTheirContextAndTheLink(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := peertest.New()
		a, b := inMemory(t, m, "n1", nil), inMemory(t, m, "n2", nil)
		returned := 0
		b.request = func(ctx context.Context, _ *Link, kind byte, _ []byte) ([]byte, error) {
			if kind == 1 {
				time.Sleep(2 * time.Second)
				return []byte("late"), nil
			}
			<-ctx.Done()
			b.note(func() { returned++ })
			return nil, ctx.Err()
		}
		l := connect(t, a, b)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := l.Request(ctx, 1, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		time.Sleep(5 * time.Second) // the answer comes and nobody minds

		done := make(chan error, maxAsked)
		for range maxAsked {
			go func() {
				_, err := l.Request(context.Background(), 2, nil)
				done <- err
			}()
		}
		synctest.Wait()
		var r *Refusal
		if _, err := l.Request(context.Background(), 2, nil); !errors.As(err, &r) || r.Code != CodeBusy {
			t.Errorf("one too many: %v", err)
		}
		l.Close()
		for range maxAsked {
			if err := <-done; !errors.Is(err, ErrClosed) {
				t.Errorf("the link closed: %v", err)
			}
		}
		b.wait(t, "the end", func() bool { return len(b.ended) == 1 })
		if returned != maxAsked {
			t.Errorf("Closed came when %d of %d requests had returned", returned, maxAsked)
		}
	})
}
