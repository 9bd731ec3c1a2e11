package cluster

import (
	"time"

	"github.com/redlockd/redlockd/fsm"
)

// This file is what canaries need (package internal/canary); no live code uses it.

// awakeClock is a clock that stands still in a suspend.
type awakeClock struct{ Clock }

func (c awakeClock) Boot() time.Duration { return c.Now().Sub(time.Time{}.AddDate(1999, 0, 0)) }

// localRead is set where canary_local_read is on.
var localRead func(n *Node, ops []*fsm.Op)
