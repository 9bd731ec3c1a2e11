package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/redlockd/redlockd/cmd/redlockd/internal/ask"
)

// This file is `redlockd status`: it asks one node by RESP who the members are,
// then each of them for itself, and shows what they said.

// statusReport is what --json prints. Numbers that could not be had are -1.
type statusReport struct {
	Asked            string         `json:"asked"`
	Cluster          string         `json:"cluster"`
	Leader           string         `json:"leader"` // empty: none is known
	Term             int64          `json:"term"`
	Commit           int64          `json:"commit_index"`
	SessionTimeoutMS int64          `json:"session_timeout_ms"`
	Members          []statusMember `json:"members"`
	Locks            statusLocks    `json:"locks"`
	Sessions         statusSessions `json:"sessions"`
}

type statusLocks struct {
	Held      int64 `json:"held"`
	Waiters   int64 `json:"waiters"`
	Destroyed int64 `json:"destroyed"`
	LastFence int64 `json:"last_fence"`
}

type statusSessions struct {
	All         int64 `json:"all"`
	Named       int64 `json:"named"`
	Connections int64 `json:"connections"`
}

// statusMember is one node: what it said itself, or, where Error says why it
// did not, what the asked node knows of it.
type statusMember struct {
	ID       string `json:"id"`
	Node     string `json:"node"`
	Addr     string `json:"addr"`
	Peer     string `json:"peer"`
	Role     string `json:"role"`
	Voter    bool   `json:"voter"`
	Leader   bool   `json:"leader"`
	Version  string `json:"version"`
	UptimeS  int64  `json:"uptime_s"`
	Term     int64  `json:"term"`
	Commit   int64  `json:"commit_index"`
	Applied  int64  `json:"applied_index"`
	Lag      int64  `json:"lag"`
	Contact  int64  `json:"last_contact_ms"` // of the leader, by the member; of the member, where Error is set
	Clients  int64  `json:"clients"`
	Blocked  int64  `json:"blocked_clients"`
	DiskFree int64  `json:"disk_free_bytes"`
	Error    string `json:"error,omitempty"`
}

type statusFlags struct {
	addrs        []string
	passwordFile string
	json         bool
	timeout      time.Duration
}

// newStatus makes the command. environ may hold the password.
func newStatus(environ []string) *cobra.Command {
	var f statusFlags
	c := &cobra.Command{
		Use: "status", Short: "Show the cluster: members, roles, lag, sessions, locks", Args: cobra.NoArgs,
		Long: "Ask a running node, and by its word all others, how the cluster does.\n" +
			"The password is taken from --password-file or REDLOCKD_REQUIREPASS. The exit code is 1 where nobody answers, or no leader is known.",
		Example: "  redlockd status\n  redlockd status --addr 10.0.0.1:7379 --json",
		RunE: func(c *cobra.Command, _ []string) error {
			password, err := toolPassword(f.passwordFile, environ)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), f.timeout)
			defer cancel()
			r, err := gather(ctx, f.addrs, password)
			if err != nil {
				return err
			}
			if err = r.write(c.OutOrStdout(), f.json); err != nil {
				return err
			}
			if r.Leader == "" {
				return errors.New("no leader is known: until there is one, nothing is granted and nothing is released")
			}
			return nil
		},
	}
	c.Flags().StringSliceVar(&f.addrs, "addr", []string{"127.0.0.1:7379"}, "a node to ask: host:port or unix:/path; of several the first that answers")
	c.Flags().StringVar(&f.passwordFile, "password-file", "", "a file whose first line is the password")
	c.Flags().BoolVar(&f.json, "json", false, "for programs")
	c.Flags().DurationVar(&f.timeout, "timeout", 5*time.Second, "how long it may take")
	return c
}

// toolPassword is the password that a tool gives, empty: none.
func toolPassword(file string, environ []string) (string, error) {
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("--password-file: %w", err)
		}
		line, _, _ := strings.Cut(string(data), "\n")
		return strings.TrimSuffix(line, "\r"), nil
	}
	for _, pair := range environ {
		if v, ok := strings.CutPrefix(pair, "REDLOCKD_REQUIREPASS="); ok {
			return v, nil
		}
	}
	return "", nil
}

// askInfo asks one node for what status shows.
func askInfo(ctx context.Context, addr, password string) (map[string]string, error) {
	c, err := ask.Dial(ctx, addr, password)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }() // it was read to the end
	text, err := c.Do("INFO", "server", "clients", "persistence", "raft", "locks", "sessions")
	if err != nil {
		return nil, err
	}
	info := ask.Info(text)
	if info["redlockd_version"] == "" {
		return nil, errors.New("this is not redlockd, or its Sentinel port")
	}
	return info, nil
}

// gather asks the first node that answers, then its members.
func gather(ctx context.Context, addrs []string, password string) (*statusReport, error) {
	var errs error
	for _, addr := range addrs {
		info, err := askFirst(ctx, addr, password, len(addrs))
		if err == nil {
			return report(ctx, addr, info, password), nil
		}
		errs = errors.Join(errs, fmt.Errorf("%s does not answer: %w", addr, err))
	}
	return nil, errs
}

// askFirst leaves time for the other addresses.
func askFirst(ctx context.Context, addr, password string, of int) (map[string]string, error) {
	if deadline, ok := ctx.Deadline(); ok {
		limited, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(of+1))
		defer cancel()
		ctx = limited
	}
	return askInfo(ctx, addr, password)
}

func report(ctx context.Context, addr string, info map[string]string, password string) *statusReport {
	r := &statusReport{
		Asked: addr, Cluster: info["cluster_id"], Leader: info["leader"], Term: number(info["term"]), Commit: number(info["commit_index"]),
		SessionTimeoutMS: number(info["session_timeout_ms"]),
		Locks:            statusLocks{number(info["locks_held"]), number(info["locks_waiters"]), number(info["locks_destroyed"]), number(info["last_fence"])},
		Sessions:         statusSessions{number(info["sessions"]), number(info["named_sessions"]), number(info["session_connections"])},
	}
	var asking sync.WaitGroup
	r.Members = make([]statusMember, max(number(info["members"]), 0))
	for i := range r.Members {
		m := &r.Members[i]
		m.known(ask.Pairs(info["member"+strconv.Itoa(i)]))
		if m.ID == info["node_id"] {
			m.said(info)
			continue
		}
		asking.Go(func() { m.ask(ctx, password) })
	}
	asking.Wait()
	for i := range r.Members {
		r.Term, r.Commit = max(r.Term, r.Members[i].Term), max(r.Commit, r.Members[i].Commit)
	}
	for i := range r.Members {
		if m := &r.Members[i]; m.Error == "" {
			// By the commit index: entries of Raft's own are in it, and not in the applied index.
			m.Lag = r.Commit - m.Commit
		}
	}
	return r
}

// known is what the asked node knows of a member.
func (m *statusMember) known(f map[string]string) {
	*m = statusMember{
		ID: f["id"], Node: f["node"], Addr: f["addr"], Peer: f["peer"], Role: f["role"], Voter: f["suffrage"] == "voter",
		Leader: f["role"] == "leader", Lag: number(f["lag"]), Contact: number(f["last_contact_ms"]),
		UptimeS: -1, Term: -1, Commit: -1, Applied: -1, Clients: -1, Blocked: -1, DiskFree: -1,
	}
}

func (m *statusMember) ask(ctx context.Context, password string) {
	if m.Addr == "" {
		m.Error = "its address for clients is not known"
		return
	}
	info, err := askInfo(ctx, m.Addr, password)
	switch {
	case err != nil:
		m.Error = err.Error()
	case info["node_id"] != m.ID:
		m.Error = fmt.Sprintf("node %s answers at %s: correct --announce", info["node_id"], m.Addr)
	default:
		m.said(info)
	}
}

// said is what the member says itself.
func (m *statusMember) said(info map[string]string) {
	m.Role, m.Leader = info["raft_role"], info["raft_role"] == "leader"
	m.Version, m.UptimeS = info["redlockd_version"], number(info["uptime_in_seconds"])
	m.Term, m.Commit, m.Applied = number(info["term"]), number(info["commit_index"]), number(info["applied_index"])
	m.Contact = number(info["leader_last_contact_ms"])
	m.Clients, m.Blocked, m.DiskFree = number(info["connected_clients"]), number(info["blocked_clients"]), number(info["disk_free_bytes"])
}

// number reads a whole number; -1: there is none.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func (r *statusReport) write(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	leader := r.Leader
	if leader == "" {
		leader = "none"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %s, leader %s, term %d, commit %d\n\n", r.Cluster, leader, r.Term, r.Commit)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "NODE\tROLE\tVOTES\tCLIENTS AT\tPEERS AT\tTERM\tCOMMIT\tAPPLIED\tLAG\tLAST CONTACT\tCLIENTS\tUP\tVERSION") // a Builder takes all
	for i := range r.Members {
		_, _ = fmt.Fprintln(t, r.Members[i].row())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&b, "\nlocks %d held, %d waiters, %d destroyed, last fence %d\n", r.Locks.Held, r.Locks.Waiters, r.Locks.Destroyed, r.Locks.LastFence)
	fmt.Fprintf(&b, "sessions %d, %d of them named, %d connections, session-timeout %v\n",
		r.Sessions.All, r.Sessions.Named, r.Sessions.Connections, time.Duration(r.SessionTimeoutMS)*time.Millisecond)
	for _, m := range r.Members {
		if m.Error != "" {
			fmt.Fprintf(&b, "node %s was not asked: %s\n", m.ID, m.Error)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// row is a line of the table; what is not known is a dash.
func (m *statusMember) row() string {
	dash := func(n int64, unit string) string {
		if n < 0 {
			return "-"
		}
		return strconv.FormatInt(n, 10) + unit
	}
	votes, up := "no", "-"
	if m.Voter {
		votes = "yes"
	}
	if m.UptimeS >= 0 {
		up = (time.Duration(m.UptimeS) * time.Second).String()
	}
	contact := dash(m.Contact, "ms")
	if m.Leader {
		contact = "-"
	}
	words := []string{
		m.ID, m.Role, votes, m.Addr, m.Peer, dash(m.Term, ""), dash(m.Commit, ""), dash(m.Applied, ""), dash(m.Lag, ""), contact,
		dash(m.Clients, ""), up, m.Version,
	}
	for i := range words {
		if words[i] == "" {
			words[i] = "-"
		}
	}
	return strings.Join(words, "\t")
}
