// Package canary has bugs to switch on: one constant for each rule that carries
// redlockd, false in every ordinary build. A branch on a constant that is false
// costs nothing: the compiler leaves it out. `go build -tags canary_batch_gap`
// makes BatchGap true, and only that one; `make canaries` builds each, runs the
// suite that is to catch it, and fails where that passes.
//
// So a branch on a constant of this package is never live code. It says what
// happens where the rule does not hold.
//
// To add one: a constant here, whose text is its tag without "canary_"; the
// branch; a line in the table of tests/canaries; then `go generate` here.
package canary

//go:generate go run ../../tests/canaries -files .

// Batches.
const (
	// BatchGap: the machine takes a batch whose predecessor has not come: what that carried is lost.
	BatchGap = on == "batch_gap"
	// BatchTwice: a batch that comes again is applied again.
	BatchTwice = on == "batch_twice"
	// BatchReused: after request-timeout the number of a sent batch is given to other ops.
	BatchReused = on == "batch_reused"
	// BatchGivenUp: after request-timeout a sent batch is never sent again, and the machine waits for its number for ever.
	BatchGivenUp = on == "batch_given_up"
	// FailedForgotten: a failed answer does not make what was sent go out again.
	FailedForgotten = on == "failed_forgotten"
	// OverdueForgotten: a batch that was lost on the way is never sent again.
	OverdueForgotten = on == "overdue_forgotten"
	// TermForgotten: a change of term does not make what was sent go out again.
	TermForgotten = on == "term_forgotten"
	// ManyInFlight: more than two batches are under way at once.
	ManyInFlight = on == "many_in_flight"
	// EarlyLost: a node takes a batch that was refused as early for an applied one.
	EarlyLost = on == "early_lost"
	// LocalTimeout: a node tells the clients of a sent batch that nothing was done.
	LocalTimeout = on == "local_timeout"
	// DownKept: what got CLUSTERDOWN is not taken out of the queue.
	DownKept = on == "down_kept"
	// WaitTimesOut: a LOCK that waits ends with request-timeout.
	WaitTimesOut = on == "wait_times_out"
)

// Order within a connection.
const (
	// OpGap: an op is applied though the one before it has not come.
	OpGap = on == "op_gap"
	// OpWhileWaiting: an op is applied while its connection waits.
	OpWhileWaiting = on == "op_while_waiting"
	// EndWaits: the end of a connection is not applied while it waits.
	EndWaits = on == "end_waits"
	// RefusedForgotten: a node does not propose refused ops again.
	RefusedForgotten = on == "refused_forgotten"
	// SessionReturns: any op of an unknown connection brings its session back.
	SessionReturns = on == "session_returns"
	// SeqReused: the number of an op under way is given to another op.
	SeqReused = on == "seq_reused"
)

// Incarnations.
const (
	// NonceForgotten: a registration that comes again is not known for the same.
	NonceForgotten = on == "nonce_forgotten"
	// RegisterAny: a registration may replace any incarnation, newer ones too.
	RegisterAny = on == "register_any"
	// WaitsStay: waits in a named session stay in line when their incarnation ends.
	WaitsStay = on == "waits_stay"
	// IncarnationRevived: an ended incarnation is vouched for, and its batches are applied.
	IncarnationRevived = on == "incarnation_revived"
	// RefusalIgnored: a node that learns that its incarnation has ended serves on.
	RefusalIgnored = on == "refusal_ignored"
)

// Keepalives.
const (
	// KeepaliveTwice: a copy of a keepalive counts again.
	KeepaliveTwice = on == "keepalive_twice"
	// KeepaliveOldTime: a keepalive counts from the time before its entry.
	KeepaliveOldTime = on == "keepalive_old_time"
	// KeepaliveQueues: keepalives of other nodes wait behind what fills the entries.
	KeepaliveQueues = on == "keepalive_queues"
	// KeepaliveUnapplied: a keepalive counts for its node once it is sent, applied or not.
	KeepaliveUnapplied = on == "keepalive_unapplied"
	// KeepaliveFromApplied: a keepalive counts for its node from when it was applied, not from when it was sent.
	KeepaliveFromApplied = on == "keepalive_from_applied"
	// SuspendUnseen: a node reads the age of its keepalive from a clock that stands still in a suspend.
	SuspendUnseen = on == "suspend_unseen"
	// StaleGrant: a node gives replies after a pause without looking whether it is vouched for.
	StaleGrant = on == "stale_grant"
	// SilenceIgnored: a node that nobody vouches for does not end its incarnation.
	SilenceIgnored = on == "silence_ignored"
	// NoMargin: a node serves until the very moment at which the machine may end it.
	NoMargin = on == "no_margin"
	// PingAlways: PING is answered for as long as any reply.
	PingAlways = on == "ping_always"
)

// Time.
const (
	// WallClock: entries carry the wall clock, so whoever sets it ends leases and sessions.
	WallClock = on == "wall_clock"
	// ClockJumps: the leader's clock makes up for the time in which it was frozen.
	ClockJumps = on == "clock_jumps"
	// ClockFromZero: the clock of a new leader starts at zero.
	ClockFromZero = on == "clock_from_zero"
	// NoBarrier: the clock of a new leader starts before the entries of earlier terms are applied.
	NoBarrier = on == "no_barrier"
	// RestoreKeepsClock: the clock of a leader goes on with the time of the state that a restore replaced.
	RestoreKeepsClock = on == "restore_keeps_clock"
	// NoTicks: nothing is written between deadlines, so that a change of leader loses all that time.
	NoTicks = on == "no_ticks"
	// DeadlineLate: no entry is written when a deadline has come.
	DeadlineLate = on == "deadline_late"
	// IdleWrites: an idle cluster writes.
	IdleWrites = on == "idle_writes"
	// IdleVouches: a node without connections sends keepalives.
	IdleVouches = on == "idle_vouches"
	// TermNoTime: a new term gives nodes no time.
	TermNoTime = on == "term_no_time"
	// TermNoTTL: the TTLs of named sessions run on without a leader.
	TermNoTTL = on == "term_no_ttl"
)

// Fast answers.
const (
	// FastRenews: a fast answer vouches for the node that gets it.
	FastRenews = on == "fast_renews"
	// FastUnvouched: a node does not have to be vouched for after a fast answer.
	FastUnvouched = on == "fast_unvouched"
	// FastOvertakes: a fast answer fills a slot that is not its own.
	FastOvertakes = on == "fast_overtakes"
	// LocalRead: a leader answers queries from its own state, deposed or not.
	LocalRead = on == "local_read"
)

// Snapshots.
const (
	// InstallBlind: a node that has installed a snapshot does not compare its connections with it.
	InstallBlind = on == "install_blind"
	// SnapshotNoWaiters: snapshots lack the waiters.
	SnapshotNoWaiters = on == "snapshot_no_waiters"
	// FenceLost: fences begin anew after a restore.
	FenceLost = on == "fence_lost"
)

// IDs, notices, settings, holds.
const (
	// IDIgnored: a retry with an ID acts anew.
	IDIgnored = on == "id_ignored"
	// IDForgotten: an ID is forgotten when its hold or wait ends.
	IDForgotten = on == "id_forgotten"
	// IDRegrants: a retry whose grant has ended takes the lock again, in place of LOCKLOST.
	IDRegrants = on == "id_regrants"
	// NoticeLost: nobody is told of a lost hold.
	NoticeLost = on == "notice_lost"
	// NoticeStays: a notice that was told is told again.
	NoticeStays = on == "notice_stays"
	// SettingUnwritten: a changed setting is not part of the state.
	SettingUnwritten = on == "setting_unwritten"
	// GrantToEnded: a lock is granted to a session that has ended.
	GrantToEnded = on == "grant_to_ended"
	// EndsOneByOne: sessions that are due in one entry end one after the other.
	EndsOneByOne = on == "ends_one_by_one"
	// LostWaiter: the waiter that gets a lock is not told.
	LostWaiter = on == "lost_waiter"
	// FreeKept: a free lock stays in the state.
	FreeKept = on == "free_kept"
	// FenceFromIndex: a fence is its entry's index.
	FenceFromIndex = on == "fence_from_index"
	// DivergedServes: a node whose state differs from that of the majority goes on.
	DivergedServes = on == "diverged_serves"
)

// Disk.
const (
	// VoteUnsynced: a vote is not synced.
	VoteUnsynced = on == "vote_unsynced"
	// LogUnsynced: an appended log entry is not synced.
	LogUnsynced = on == "log_unsynced"
	// OldTailStays: the tail of the log that a new leader has replaced stays behind its entries.
	OldTailStays = on == "old_tail_stays"
	// CommitPastSent: a leader says that entries are committed which its request does not carry.
	CommitPastSent = on == "commit_past_sent"
	// HeartbeatDeposes: a heartbeat changes term and office beside Raft's main loop.
	HeartbeatDeposes = on == "heartbeat_deposes"
	// DeposedSends: a request is sent that was read while another leader replaced the log's end.
	DeposedSends = on == "deposed_sends"
	// VoteHalves: the term of a vote and its candidate reach the disk one after the other.
	VoteHalves = on == "vote_halves"
	// DiskUnseen: a node without connections does not look at its disk, and what was said of one counts for ever.
	DiskUnseen = on == "disk_unseen"
	// HandOverLeft: a node that stops does not wait for the hand-over that Raft has been asked for.
	HandOverLeft = on == "hand_over_left"
	// HeartbeatUnheard: a HEARTBEAT session ends though a node that has its connections may have heard its client in time.
	HeartbeatUnheard = on == "heartbeat_unheard"
	// HeartbeatStrict: a HEARTBEAT session ends when no word has come to the machine for its TTL.
	HeartbeatStrict = on == "heartbeat_strict"
	// ForgetsBlind: a member that is removed need not have closed its clients' connections.
	ForgetsBlind = on == "forgets_blind"
)
