package main

// suite names tests of one package.
type suite struct{ pkg, tests string }

// canary is one bug, and the suite of CI that is to catch it: the cheapest one.
// Where that is not it, the rule's own scenario is scenario.
type canary struct {
	name string
	suite
	scenario suite
}

// scenario is the rule's own test (cluster/section1_test.go).
func scenario(name string) suite { return suite{"./cluster", "TestRule/^" + name + "$"} }

// node is a rule that its scenario catches.
func node(name string) canary { return canary{name: name, suite: scenario(name)} }

// machine is a rule of the machine: its random programs against the model, or
// tests that name the rule, catch it; its scenario does too.
func machine(name, tests string) canary {
	return canary{name, suite{"./fsm", tests}, scenario(name)}
}

// other is a bug that one more test catches.
func other(name, pkg, tests string) canary { return canary{name: name, suite: suite{pkg, tests}} }

const (
	random  = "TestRandom"
	stories = "TestStories"
)

var canaries = []canary{
	machine("batch_gap", random),
	machine("batch_twice", "TestSequenceOfAConnection"),
	node("batch_reused"),
	node("batch_given_up"),
	node("failed_forgotten"),
	node("overdue_forgotten"),
	other("term_forgotten", "./cluster", "TestEachTermIsOpenedAnew"),
	node("many_in_flight"),
	node("early_lost"),
	other("local_timeout", "./sessions", "TestUncertain"),
	node("down_kept"),
	machine("wait_times_out", random),
	machine("op_gap", "TestSequenceOfAConnection"),
	machine("op_while_waiting", "TestOpsBehindAWait"),
	machine("end_waits", random),
	other("refused_forgotten", "./sessions", "TestWaitingPipeline"),
	machine("session_returns", "TestUnknownConnection"),
	other("seq_reused", "./sessions", "TestDown"),
	machine("nonce_forgotten", random),
	machine("register_any", random),
	machine("waits_stay", random),
	machine("incarnation_revived", random),
	node("refusal_ignored"),
	machine("keepalive_twice", random),
	machine("keepalive_old_time", random),
	node("keepalive_queues"),
	node("keepalive_unapplied"),
	node("keepalive_from_applied"),
	node("suspend_unseen"),
	node("stale_grant"),
	node("silence_ignored"),
	node("no_margin"),
	node("ping_always"),
	other("wall_clock", "./cluster", "TestLeaderClock"),
	other("clock_jumps", "./cluster", "TestLeaderClock"),
	node("clock_from_zero"),
	other("no_barrier", "./cluster", "TestEachTermIsOpenedAnew"),
	node("restore_keeps_clock"),
	other("no_ticks", "./cluster", "TestTicks"),
	other("deadline_late", "./cluster", "TestTicks"),
	other("idle_writes", "./cluster", "TestTicks"),
	node("idle_vouches"),
	machine("term_no_time", random),
	machine("term_no_ttl", random),
	node("fast_renews"),
	node("fast_unvouched"),
	other("fast_overtakes", "./sessions", "TestFast"),
	other("local_read", "./cluster", "TestDeposedLeaderAnswersNoQuery"),
	node("install_blind"),
	machine("snapshot_no_waiters", "TestOpsBehindAWait"),
	machine("fence_lost", "TestSequenceOfAConnection"),
	machine("id_ignored", random),
	machine("id_forgotten", random),
	machine("id_regrants", stories),
	machine("notice_lost", random),
	machine("notice_stays", random),
	machine("setting_unwritten", "TestHash"),
	machine("grant_to_ended", random),
	machine("ends_one_by_one", stories),
	machine("lost_waiter", "TestOpsBehindAWait"),
	machine("free_kept", "TestSequenceOfAConnection"),
	machine("fence_from_index", "TestSequenceOfAConnection"),
	other("diverged_serves", "./cluster", "TestDivergedNodeStops"),
	other("vote_unsynced", "./store", "TestCrashAtEveryStep"),
	other("log_unsynced", "./store", "TestCrashAtEveryStep"),
	other("old_tail_stays", "./store", "TestLogContract"),
	other("commit_past_sent", "./cluster", "TestStaleTailIsNotApplied"),
	other("heartbeat_deposes", "./cluster", "TestHeartbeatChangesNoTerm"),
	other("deposed_sends", "./cluster", "TestDeposedLeaderSendsNoEntries"),
	other("vote_halves", "./store", "TestVoteIsOneWrite"),
	other("disk_unseen", "./tests/sim", "TestFound/a-full-disk-of-an-idle-node"),
	other("hand_over_left", "./tests/sim", "TestFound/death-while-handing-over"),
	other("heartbeat_unheard", "./fsm", "TestStories/sessions"),
	other("heartbeat_strict", "./fsm", "TestStories/sessions"),
	other("forgets_blind", "./cluster", "TestForgottenNodeClosesFirst"),
}
