package e2e

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/redlockd/redlockd/tests/harness"
)

// A peer is one connection of a story.
type peer interface {
	send(args []string)
	receive() (harness.Value, error)
	close()
	awaitClose() string
}

// A driver opens the connections of a story.
type driver func(t *testing.T, addr string) peer

// drivers are the clients that every story is told through.
var drivers = []struct {
	name string
	open driver
}{
	{"resp2", func(t *testing.T, addr string) peer { return &rawPeer{t, harness.Connect(t, addr)} }},
	{"resp3", func(t *testing.T, addr string) peer {
		c := harness.Connect(t, addr)
		if hello := c.Do("HELLO", "3"); hello.Kind != harness.Map {
			t.Fatalf("HELLO 3: %v", hello)
		}
		return &rawPeer{t, c}
	}},
	{"go-redis-resp2", func(t *testing.T, addr string) peer { return newRedisPeer(t, addr, 2) }},
	{"go-redis-resp3", func(t *testing.T, addr string) peer { return newRedisPeer(t, addr, 3) }},
}

// rawPeer speaks through our own client.
type rawPeer struct {
	t *testing.T
	c *harness.Client
}

func (p *rawPeer) send(args []string) {
	if err := p.c.Conn().Send(args...); err != nil {
		p.t.Logf("send %v: %v", args, err) // the missing reply tells
	}
}
func (p *rawPeer) receive() (harness.Value, error) { return p.c.Conn().Receive() }
func (p *rawPeer) close()                          { p.c.Close() }

func (p *rawPeer) awaitClose() string {
	got, err := p.c.Conn().AwaitClose()
	if err != nil {
		return fmt.Sprintf("%v; got %q", err, got)
	}
	return ""
}

// redisPeer speaks through one connection of go-redis.
type redisPeer struct {
	t       *testing.T
	client  *redis.Client
	conn    *redis.Conn
	replies chan redisReply
}

type redisReply struct {
	value harness.Value
	err   error
}

func newRedisPeer(t *testing.T, addr string, protocol int) *redisPeer {
	t.Helper()
	client := harness.GoRedis(t, addr, func(o *redis.Options) {
		o.Protocol = protocol
		o.PoolSize = 1
	})
	return &redisPeer{t, client, client.Conn(), make(chan redisReply, 1)}
}

func (p *redisPeer) send(args []string) {
	words := make([]any, len(args))
	for i, arg := range args {
		words[i] = arg
	}
	go func() {
		got, err := p.conn.Do(context.Background(), words...).Result()
		value, err := fromRedis(got, err)
		p.replies <- redisReply{value, err}
	}()
}

func (p *redisPeer) receive() (harness.Value, error) {
	timer := time.NewTimer(harness.Patience)
	defer timer.Stop()
	select {
	case r := <-p.replies:
		return r.value, r.err
	case <-timer.C:
		return harness.Value{}, fmt.Errorf("no reply within %v", harness.Patience)
	}
}

func (p *redisPeer) close() {
	if err := errors.Join(p.conn.Close(), p.client.Close()); err != nil {
		p.t.Errorf("close the go-redis client: %v", err)
	}
}

// awaitClose asks until go-redis finds the connection closed; it has no other way to notice.
func (p *redisPeer) awaitClose() string {
	closed := harness.Poll(harness.Patience, func() bool {
		p.send([]string{"ECHO", "x"})
		_, err := p.receive()
		return err != nil
	})
	if !closed {
		return harness.ErrStillOpen.Error()
	}
	return ""
}

// fromRedis turns a result of go-redis into a reply.
func fromRedis(got any, err error) (harness.Value, error) {
	var answered redis.Error
	switch {
	case errors.Is(err, redis.Nil):
		return harness.Value{Kind: harness.Null}, nil
	case errors.As(err, &answered):
		return harness.Value{Kind: harness.Error, Text: answered.Error()}, nil
	case err != nil:
		return harness.Value{}, err
	}
	return fromGo(got)
}

func fromGo(got any) (harness.Value, error) {
	switch x := got.(type) {
	case nil:
		return harness.Value{Kind: harness.Null}, nil
	case int64:
		return harness.Value{Kind: harness.Int, Int: x}, nil
	case string:
		return harness.Value{Kind: harness.Bulk, Text: x}, nil
	case bool:
		v := harness.Value{Kind: harness.Bool}
		if x {
			v.Int = 1
		}
		return v, nil
	case float64:
		return harness.Value{Kind: harness.Double, Text: strconv.FormatFloat(x, 'g', -1, 64)}, nil
	case error:
		return harness.Value{Kind: harness.Error, Text: x.Error()}, nil
	case []any:
		return fromItems(harness.Array, x)
	case map[any]any:
		var flat []any
		for key, value := range x {
			flat = append(flat, key, value)
		}
		return fromItems(harness.Map, flat)
	}
	return harness.Value{}, fmt.Errorf("go-redis returned a %T", got)
}

func fromItems(kind harness.Kind, items []any) (harness.Value, error) {
	v := harness.Value{Kind: kind}
	for _, item := range items {
		value, err := fromGo(item)
		if err != nil {
			return v, err
		}
		v.Items = append(v.Items, value)
	}
	return v, nil
}
