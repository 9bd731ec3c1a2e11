package fsm

import (
	"encoding/binary"
	"fmt"
)

// The kinds of Reply.Data in an encoded reply. Part of the protocol between
// nodes: append, never renumber.
const (
	dataNone = iota
	dataLockInfo
	dataWaiters
	dataScan
	dataAttached
	dataSessions
)

// replyDetail is set in the kind byte when a Detail follows.
const replyDetail = 0x80

// AppendReply appends the encoding of a reply to dst: what a leader sends to the
// node that waits for it. Only replies that came from a Machine can be encoded.
func AppendReply(dst []byte, r *Reply) []byte {
	dst = appendUints(dst, uint64(r.Conn), r.Seq)
	dst = append(dst, byte(r.Code))
	dst = binary.AppendVarint(dst, r.Int)
	at := len(dst)
	dst = append(dst, dataNone)
	if r.Detail != nil {
		dst[at] |= replyDetail
		dst = appendDetail(dst, r.Detail)
	}
	switch d := r.Data.(type) {
	case *LockInfo:
		dst[at] |= dataLockInfo
		dst = appendLockInfo(dst, d)
	case []WaiterInfo:
		dst[at] |= dataWaiters
		dst = binary.AppendUvarint(dst, uint64(len(d)))
		for i := range d {
			dst = appendParty(dst, &d[i].Waiter)
			dst = appendString(appendInts(dst, d[i].WaitingMS, d[i].TimeoutMS), d[i].Note)
		}
	case *ScanPage:
		dst[at] |= dataScan
		dst = appendUints(dst, d.Cursor, uint64(len(d.Keys)))
		for _, k := range d.Keys {
			dst = appendString(dst, k)
		}
	case *Attached:
		dst[at] |= dataAttached
		dst = appendBool(appendUints(dst, uint64(d.Session)), d.Created)
	case []SessionInfo:
		dst[at] |= dataSessions
		dst = binary.AppendUvarint(dst, uint64(len(d)))
		for i := range d {
			dst = appendSessionInfo(dst, &d[i])
		}
	}
	return dst
}

func appendParty(dst []byte, p *Party) []byte {
	dst = appendUints(dst, uint64(p.Session), uint64(p.Conn))
	for _, s := range [...]string{p.SessionName, p.Owner, p.ClientName, p.Addr, p.Node} {
		dst = appendString(dst, s)
	}
	return dst
}

func appendDetail(dst []byte, d *Detail) []byte {
	dst = appendParty(append(dst, byte(d.Why)), &d.Holder)
	dst = appendUints(dst, d.Fence, uint64(d.Caller))
	return appendString(appendInts(dst, d.Number), d.Text)
}

func appendLockInfo(dst []byte, i *LockInfo) []byte {
	dst = appendUints(append(dst, byte(i.State)), i.Fence)
	dst = appendParty(appendInts(dst, i.Holds, i.LeaseMS, i.HeldMS, i.Waiters), &i.Holder)
	return appendString(dst, i.Note)
}

func appendSessionInfo(dst []byte, s *SessionInfo) []byte {
	dst = appendString(appendString(appendUints(dst, uint64(s.ID)), s.Name), s.Node)
	dst = appendInts(dst, s.Connections, s.TTLMS, s.Holds, s.Waits, s.IdleMS)
	return appendBool(dst, s.Heartbeat)
}

// DecodeReply decodes the reply at the front of data and returns what is behind
// it. It refuses whatever AppendReply could not have written. The reply shares
// nothing with data.
func DecodeReply(data []byte) (Reply, []byte, error) {
	r := reader{b: data}
	p := Reply{Conn: ConnID(r.uvarint()), Seq: r.uvarint(), Code: Code(r.byte()), Int: r.varint()}
	if p.Code > CodeUncertain {
		r.fail(fmt.Sprintf("a reply with code %d", p.Code))
	}
	kind := r.byte()
	if kind&replyDetail != 0 {
		p.Detail = r.detail()
	}
	switch kind &^ replyDetail {
	case dataNone:
	case dataLockInfo:
		p.Data = r.lockInfo()
	case dataWaiters:
		all := make([]WaiterInfo, r.count(10))
		for i := range all {
			all[i] = WaiterInfo{Waiter: r.party(), WaitingMS: r.varint(), TimeoutMS: r.varint(), Note: r.string()}
		}
		p.Data = all
	case dataScan:
		s := &ScanPage{Cursor: r.uvarint()}
		s.Keys = make([]string, r.count(1))
		for i := range s.Keys {
			s.Keys[i] = r.string()
		}
		p.Data = s
	case dataAttached:
		p.Data = &Attached{Session: SessionID(r.uvarint()), Created: r.bool()}
	case dataSessions:
		all := make([]SessionInfo, r.count(9))
		for i := range all {
			all[i] = r.sessionInfo()
		}
		p.Data = all
	default:
		r.fail(fmt.Sprintf("a reply with data of kind %d", kind&^replyDetail))
	}
	if r.err != nil {
		return Reply{}, nil, r.err
	}
	return p, r.b, nil
}

func (r *reader) party() Party {
	return Party{
		Session: SessionID(r.uvarint()), Conn: ConnID(r.uvarint()),
		SessionName: r.string(), Owner: r.string(), ClientName: r.string(), Addr: r.string(), Node: r.string(),
	}
}

func (r *reader) detail() *Detail {
	d := &Detail{Why: Why(r.byte())}
	if d.Why > WhyCostly {
		r.fail(fmt.Sprintf("a reason with number %d", d.Why))
	}
	d.Holder = r.party()
	d.Fence, d.Caller = r.uvarint(), SessionID(r.uvarint())
	d.Number, d.Text = r.varint(), r.string()
	return d
}

func (r *reader) lockInfo() *LockInfo {
	i := &LockInfo{State: LockState(r.byte())}
	if i.State > LockDestroyed {
		r.fail(fmt.Sprintf("a lock in state %d", i.State))
	}
	i.Fence = r.uvarint()
	i.Holds, i.LeaseMS, i.HeldMS, i.Waiters = r.varint(), r.varint(), r.varint(), r.varint()
	i.Holder, i.Note = r.party(), r.string()
	return i
}

func (r *reader) sessionInfo() SessionInfo {
	s := SessionInfo{ID: SessionID(r.uvarint()), Name: r.string(), Node: r.string()}
	s.Connections, s.TTLMS, s.Holds, s.Waits, s.IdleMS = r.varint(), r.varint(), r.varint(), r.varint(), r.varint()
	s.Heartbeat = r.bool()
	return s
}
