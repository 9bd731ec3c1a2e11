package commands

import (
	"maps"
	"slices"
	"sync"

	"github.com/redlockd/redlockd/resp"
)

// This file has SUBSCRIBE and its kin, and Publish. Messages are told once, to
// who listens at that moment.

// The limits of one connection.
const (
	maxSubscriptions = 1024
	maxChannel       = 512
)

// hub guards the subscriptions of all connections. A reply to SUBSCRIBE is
// written under its lock, so that no message comes ahead of it.
type hub struct{ mu sync.Mutex }

// subscriptions are what one connection listens to.
type subscriptions struct{ channels, patterns map[string]struct{} }

func (s *subscriptions) count() int { return len(s.channels) + len(s.patterns) }

func (h *hub) counts(c *client) (channels, patterns int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(c.subs.channels), len(c.subs.patterns)
}

// forget ends all subscriptions of a connection without a word.
func (h *hub) forget(c *client) {
	if c.subscribed == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c.subs, c.subscribed = subscriptions{}, 0
}

// Publish tells a message to all connections of this handler that listen to
// the channel, and returns how often it was told.
func (h *Handler) Publish(channel, message string) int {
	told := 0
	var touched []*client
	h.hub.mu.Lock()
	h.each(func(c *client) bool {
		before := told
		if _, ok := c.subs.channels[channel]; ok {
			c.push("message", channel, message)
			told++
		}
		for _, pattern := range slices.Sorted(maps.Keys(c.subs.patterns)) {
			if globMatch(pattern, channel) {
				c.push("pmessage", pattern, channel, message)
				told++
			}
		}
		if told > before {
			touched = append(touched, c)
		}
		return true
	})
	h.hub.mu.Unlock()
	for _, c := range touched {
		c.rc.Flush()
	}
	return told
}

func (c *client) push(words ...string) {
	w := c.rc.Begin()
	w.Push(len(words))
	for _, word := range words {
		w.BulkString(word)
	}
	c.rc.End(0)
}

// runSubscribe makes SUBSCRIBE (to channels) or PSUBSCRIBE (to patterns).
func runSubscribe(kind string, set func(*subscriptions) *map[string]struct{}) func(*client, [][]byte) {
	return func(c *client, args [][]byte) {
		h := &c.h.hub
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, name := range args[1:] {
			if len(name) > maxChannel || c.subs.count() >= maxSubscriptions {
				c.failed("LIMIT a connection may listen to 1024 channels and patterns of at most 512 bytes")
				break
			}
			names := set(&c.subs)
			if *names == nil {
				*names = map[string]struct{}{}
			}
			(*names)[string(name)] = struct{}{}
			w := c.rc.Begin()
			w.Push(3)
			w.BulkString(kind)
			w.Bulk(name)
			w.Int(int64(c.subs.count()))
			c.rc.End(0)
		}
		c.subscribed = c.subs.count()
	}
}

// runUnsubscribe is the way back; without a name, from all of that kind.
func runUnsubscribe(kind string, set func(*subscriptions) *map[string]struct{}) func(*client, [][]byte) {
	return func(c *client, args [][]byte) {
		h := &c.h.hub
		h.mu.Lock()
		defer h.mu.Unlock()
		names := args[1:]
		if len(names) == 0 {
			names = nil // args is not ours to append to
			for _, name := range slices.Sorted(maps.Keys(*set(&c.subs))) {
				names = append(names, []byte(name))
			}
		}
		for _, name := range names {
			delete(*set(&c.subs), string(name))
			c.unsubscribed(kind, func(w *resp.Writer) { w.Bulk(name) })
		}
		if len(names) == 0 {
			c.unsubscribed(kind, (*resp.Writer).Null)
		}
		c.subscribed = c.subs.count()
	}
}

func (c *client) unsubscribed(kind string, name func(*resp.Writer)) {
	w := c.rc.Begin()
	w.Push(3)
	w.BulkString(kind)
	name(w)
	w.Int(int64(c.subs.count()))
	c.rc.End(0)
}

func theChannels(s *subscriptions) *map[string]struct{} { return &s.channels }
func thePatterns(s *subscriptions) *map[string]struct{} { return &s.patterns }

// pubsubSpecs are on the Sentinel port.
func pubsubSpecs() []*Spec {
	specs := []*Spec{
		{
			Name: "subscribe", Arity: -2, Summary: "Listens to channels",
			Args: []Arg{arg("channel", ArgString).multiple()}, Example: "> SUBSCRIBE +switch-master\n1) \"subscribe\"\n2) \"+switch-master\"\n3) (integer) 1",
			run: runSubscribe("subscribe", theChannels),
		},
		{
			Name: "psubscribe", Arity: -2, Summary: "Listens to all channels that match patterns",
			Args: []Arg{arg("pattern", ArgPattern).multiple()}, Example: "> PSUBSCRIBE *\n1) \"psubscribe\"\n2) \"*\"\n3) (integer) 1",
			run: runSubscribe("psubscribe", thePatterns),
		},
		{
			Name: "unsubscribe", Arity: -1, Summary: "Listens to channels no longer, by default to none",
			Args: []Arg{arg("channel", ArgString).optional().multiple()}, Example: "> UNSUBSCRIBE\n1) \"unsubscribe\"\n2) (nil)\n3) (integer) 0",
			run: runUnsubscribe("unsubscribe", theChannels),
		},
		{
			Name: "punsubscribe", Arity: -1, Summary: "Listens to patterns no longer, by default to none",
			Args: []Arg{arg("pattern", ArgPattern).optional().multiple()}, Example: "> PUNSUBSCRIBE\n1) \"punsubscribe\"\n2) (nil)\n3) (integer) 0",
			run: runUnsubscribe("punsubscribe", thePatterns),
		},
	}
	for _, s := range specs {
		s.Group, s.Categories, s.Complexity = "pubsub", []string{"pubsub"}, "O(N) where N is the number of names"
		s.Flags, s.subscriber = NoScript|local, true
		s.Replies = []Shape{{ReplyPush, "for each name: the kind, the name, how many the connection listens to now"}}
	}
	return specs
}
