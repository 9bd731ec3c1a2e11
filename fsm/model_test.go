package fsm_test

import "github.com/redlockd/redlockd/fsm"

// model is the lock machine told as plainly as COMMANDS.md tells it: lists that
// are walked from end to end, no records, no hashes, no timers. It is compared
// with the machine reply by reply in random programs.
type model struct {
	now, timeout int64
	term         uint64
	acquireLimit int64
	maxWaiters   int
	fence, incs  uint64
	nodes        []*mNode
	conns        []*mConn
	named        map[string]*mSession
	holds        map[string]*mHold
	waits        []*mWait // first in line first, all keys together
	memos        []*mMemo
	notices      []*mNotice
	destroyed    map[string]bool

	replies map[fsm.Address]mReply
	refused map[fsm.Address]bool
	ended   []fsm.Incarnation
	closed  map[fsm.ConnID]bool
}

type mReply struct {
	code fsm.Code
	n    int64
}

type mNode struct {
	name           string
	inc            fsm.Incarnation
	nonce          fsm.Nonce
	alive          bool
	extended, full bool
	at             int64
	ka, batch      uint64
	drawn          uint64
	seen           int64 // up to when its keepalives tell who spoke
}

type mConn struct {
	id      fsm.ConnID
	seq     uint64
	node    *mNode
	sess    *mSession
	in      bool // attached to the present life of sess
	blocked *mWait
	refusal fsm.Code
}

// mSession is a session; of a named one, all its lives.
type mSession struct {
	id       fsm.SessionID
	name     string
	live, hb bool
	ttl      int64
	deadline int64 // 0: none
	spoken   int64 // when it was last attached, detached or spoken for
}

// mOwner is who holds, waits, remembers and is told. each stands for all unlabelled
// requests in a named session, of which each is an owner of its own.
type mOwner struct {
	sess  *mSession
	label string
	each  bool
	keep  bool
}

type mHold struct {
	owner   mOwner
	fence   uint64
	count   int64
	end     int64 // 0: no lease
	claimer *mConn
	claim   int64 // released then, unless asked for; 0: not
	linked  bool  // the owner's IDs are kept as long as it holds
}

type mCaller struct {
	conn *mConn
	seq  uint64 // 0: ASYNC
}

type mWait struct {
	key     string
	cmd     fsm.OpCode
	owner   mOwner
	id      string
	lease   int64
	until   int64
	orphan  int64
	callers []mCaller
}

// mMemo is one remembered request.
type mMemo struct {
	owner mOwner
	key   string
	id    string
	cmd   fsm.OpCode
	wait  *mWait
	reply mReply
	fence uint64 // of a grant
	fresh bool   // the grant was no re-entry
	last  int64  // when the owner last asked, held or waited there
}

type mNotice struct {
	owner   mOwner
	key     string
	fence   uint64
	session bool  // the session ended: queries and LOCK tell too
	until   int64 // 0: as long as the session lives
}

func newModel() *model {
	return &model{timeout: 10_000, maxWaiters: 10_000, named: map[string]*mSession{}, holds: map[string]*mHold{}, destroyed: map[string]bool{}}
}

func (m *model) reply(c *mConn, seq uint64, code fsm.Code, n int64) {
	m.replies[fsm.Address{Conn: c.id, Seq: seq}] = mReply{code, n}
}
