package main

import (
	"bytes"
	"fmt"

	"github.com/redlockd/redlockd/tests/harness"
)

// flavor is how a kind of server takes and gives back a lock. Replies are single lines, without their end.
type flavor struct {
	name             string
	acquire, release []string // placeholder stands for the key and the token of the cycle
	acquired         func(reply []byte) bool
	released         func(reply []byte) bool
}

// placeholder is replaced by the random digits of each cycle.
const placeholder = "0123456789abcdef"

var redlockdFlavor = flavor{
	name:    "redlockd",
	acquire: []string{"LOCK", "bench:" + placeholder},
	release: []string{"UNLOCK", "bench:" + placeholder},
	acquired: func(reply []byte) bool {
		return len(reply) > 1 && reply[0] == ':' && reply[1] >= '1' && reply[1] <= '9'
	},
	released: func(reply []byte) bool { return string(reply) == ":0" },
}

// compareAndDelete is what lock libraries for Redis release with.
const compareAndDelete = `if redis.call("GET",KEYS[1]) == ARGV[1] then return redis.call("DEL",KEYS[1]) else return 0 end`

// redisFlavor needs the hash under which the server knows compareAndDelete.
func redisFlavor(sha string) flavor {
	return flavor{
		name:     "redis",
		acquire:  []string{"SET", "bench:" + placeholder, placeholder, "NX", "PX", "30000"},
		release:  []string{"EVALSHA", sha, "1", "bench:" + placeholder, placeholder},
		acquired: func(reply []byte) bool { return string(reply) == "+OK" },
		released: func(reply []byte) bool { return string(reply) == ":1" },
	}
}

// template is the bytes of a command, repeated for each cycle in flight, and where the digits of each go.
type template struct {
	bytes []byte
	slots [][]int // of each cycle
}

func newTemplate(command []string, cycles int) template {
	one := harness.AppendCommand(nil, command...)
	var t template
	for range cycles {
		var slots []int
		for at := 0; ; {
			i := bytes.Index(one[at:], []byte(placeholder))
			if i < 0 {
				break
			}
			slots = append(slots, len(t.bytes)+at+i)
			at += i + len(placeholder)
		}
		t.bytes = append(t.bytes, one...)
		t.slots = append(t.slots, slots)
	}
	return t
}

// fill writes a cycle's digits into its command.
func (t *template) fill(cycle int, n uint64) {
	const digits = "0123456789abcdef"
	for _, at := range t.slots[cycle] {
		to := t.bytes[at : at+len(placeholder)]
		for i := range to {
			to[i] = digits[n>>(60-4*i)&15]
		}
	}
}

// wrongReply says which answer ended a run.
func wrongReply(name string, reply []byte) error {
	return fmt.Errorf("%s answered %.200q, and that is no success", name, reply)
}
