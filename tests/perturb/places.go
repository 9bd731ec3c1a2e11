package main

import (
	"bytes"
	"fmt"
)

// anchors are places between two steps that are one in the reader's mind, in Raft or
// (with the folder) in ours: the pause comes before the text, which must be there once,
// so that a new version of it is looked at again. No lock is held there.
var anchors = []struct{ file, text string }{
	// Sessions were heard of, and nobody was told.
	{"cluster/agent_keepalive.go", "\ta.mu.Lock()\n\tok := a.phase == phaseServing && a.inc == inc"},
	// Requests have timed out, and their clients were not told.
	{"cluster/agent_run.go", "\tif len(late) > 0 {\n\t\ta.log.Warn("},
	// The leader's fast answer counts, and the clients were not told.
	{"cluster/agent_peers.go", "\ta.host.Fast(replies)"},
	// Something was drawn, and not sent.
	{"cluster/forwarder.go", "\t\tif err := link.Send(frameForward"},
	{"cluster/proposer.go", "\t\t\tfut := p.raft.ApplyLog("},
	// The end of the log was read, the commit index was not.
	{"replication.go", "\t// Setup the request\n\tif err := r.setupAppendEntries(s, &req,"},
	{"replication.go", "\t// Create a new append request\n\treq := new(AppendEntriesRequest)"},
	// The commit index was read, the entries were not.
	{"replication.go", "\tif err := r.setPreviousLog(req, nextIndex)"},
	{"replication.go", "\tif err := r.setNewLogs(req, nextIndex, lastIndex)"},
	// An answer has come.
	{"replication.go", "\t// Update s based on success\n\tif resp.Success {\n\t\t// Update our replication state\n\t\tupdateLastAppended(s, &req)\n\n\t\t// Clear any failures, allow pipelining"},
	// A vote is written, and not yet given.
	{"raft.go", "\tresp.Granted = true\n\tr.setLastContact()\n}\n\n// requestPreVote"},
	// Half of a vote is written.
	{"raft.go", "\tif err := r.stable.Set(keyLastVoteCand, candidate)"},
	// A snapshot is restored, and Raft does not count with it yet.
	{"raft.go", "\t// Update the lastApplied so we don't replay old logs"},
	{"raft.go", "\t// Restore the peer set\n\tr.setLatestConfiguration(reqConfiguration, reqConfigurationIndex)"},
	{"raft.go", "\t// Clear old logs if r.logs is a MonotonicLogStore. Otherwise compact the"},
	// A snapshot is begun, written, or counted with, and the log not yet cut.
	{"snapshot.go", "\t// Make a request for the configurations and extract the committed info."},
	{"snapshot.go", "\t// Create a new snapshot."},
	{"snapshot.go", "\t// Update the last stable snapshot info."},
	{"snapshot.go", "\t// Compact the logs."},
	// An entry is stored, and not yet counted.
	{"raft.go", "\tr.leaderState.commitment.match(r.localID, lastIndex)"},
}

// At a stop Raft leaves futures without an answer that it has handed to the goroutine
// that applies: whoever waits for one waits for good. A process that stops does not
// mind (cluster.proposer.settle: one goroutine, nothing else), but a simulated one
// never ends then, and a pause makes that likely. So the copy answers them.
const (
	stopOfApply  = "\t\tcase <-r.shutdownCh:\n\t\t\treturn\n\t\t}\n\t}\n}\n\n// fsmRestoreAndMeasure"
	stopAnswered = "\t\tcase <-r.shutdownCh:\n\t\t\tr.answerAll()\n\t\t\treturn\n\t\t}\n\t}\n}\n" + `

func (r *Raft) answerAll() {
	for {
		select {
		case ptr := <-r.fsmMutateCh:
			if batch, ok := ptr.([]*commitTuple); ok {
				for _, c := range batch {
					if c.future != nil {
						c.future.respond(ErrRaftShutdown)
					}
				}
			}
		case <-time.After(time.Second):
			return
		}
	}
}

// fsmRestoreAndMeasure`
)

// anchored puts the pauses at the anchors of a file.
func anchored(name string, b []byte) ([]byte, error) {
	for _, a := range anchors {
		if a.file != name {
			continue
		}
		if n := bytes.Count(b, []byte(a.text)); n != 1 {
			return nil, fmt.Errorf("%s has the text %d times, not once; look at what it does there now:\n%s", name, n, a.text)
		}
		b = bytes.Replace(b, []byte(a.text), []byte("\tperturb()\n"+a.text), 1)
	}
	return b, nil
}
