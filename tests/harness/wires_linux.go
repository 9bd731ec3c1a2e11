package harness

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// CanTellPeers reports whether the harness can tell which process is on the far end of a loopback connection.
const CanTellPeers = true

// socketOf returns the kernel's number of the far end of an accepted loopback connection; "" if it is gone.
func socketOf(accepted net.Conn) string {
	local, ok1 := accepted.LocalAddr().(*net.TCPAddr)
	remote, ok2 := accepted.RemoteAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return ""
	}
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	// The far end's own address is our remote one, and the other way round.
	want := []byte(" " + procAddr(remote) + " " + procAddr(local) + " ")
	i := bytes.Index(table, want)
	if i < 0 {
		return ""
	}
	line, _, _ := bytes.Cut(table[i:], []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) < 9 || fields[8] == "0" {
		return ""
	}
	return fields[8] // local, remote, state, queues, timer, retransmits, uid, timeout, inode
}

func procAddr(a *net.TCPAddr) string {
	ip := a.IP.To4()
	if ip == nil {
		return "-"
	}
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(ip), a.Port)
}

// owns reports whether the process has a socket.
func (p *Process) owns(socket string) bool {
	folder := fmt.Sprintf("/proc/%d/fd", p.PID())
	files, err := os.ReadDir(folder)
	if err != nil {
		return false
	}
	for _, f := range files {
		if link, err := os.Readlink(filepath.Join(folder, f.Name())); err == nil && link == "socket:["+socket+"]" {
			return true
		}
	}
	return false
}
