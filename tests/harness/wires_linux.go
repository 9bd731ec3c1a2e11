package harness

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// CanTellPeers reports whether the harness can tell which process is on the far end of a loopback connection.
const CanTellPeers = true

// socketOf returns the kernel's number of the far end of an accepted loopback connection; "" if it is gone. It asks for
// this one socket: the table in /proc takes the kernel a tenth of a second on a busy machine.
func socketOf(accepted net.Conn) string {
	local, ok1 := accepted.LocalAddr().(*net.TCPAddr)
	remote, ok2 := accepted.RemoteAddr().(*net.TCPAddr)
	if !ok1 || !ok2 || local.IP.To4() == nil || remote.IP.To4() == nil {
		return ""
	}
	inode, err := askSocket(remote, local) // the far end's own address is our remote one, and the other way round
	if err != nil || inode == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(inode), 10)
}

// Of linux/sock_diag.h and linux/inet_diag.h.
const (
	sockDiagByFamily = 20
	diagRequest      = 16 + 56 // nlmsghdr, inet_diag_req_v2
	diagInode        = 16 + 68 // nlmsghdr, inet_diag_msg up to idiag_inode
)

// askSocket returns the inode of the TCP socket between two addresses, 0 if there is none.
func askSocket(own, peer *net.TCPAddr) (uint32, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_INET_DIAG)
	if err != nil {
		return 0, err
	}
	defer syscall.Close(fd)
	host := binary.NativeEndian
	req := make([]byte, diagRequest)
	host.PutUint32(req[0:], diagRequest)
	host.PutUint16(req[4:], sockDiagByFamily)
	host.PutUint16(req[6:], syscall.NLM_F_REQUEST)
	req[16], req[17] = syscall.AF_INET, syscall.IPPROTO_TCP
	host.PutUint32(req[20:], 1<<32-1) // in whatever state
	binary.BigEndian.PutUint16(req[24:], uint16(own.Port))
	binary.BigEndian.PutUint16(req[26:], uint16(peer.Port))
	copy(req[28:], own.IP.To4())
	copy(req[44:], peer.IP.To4())
	host.PutUint64(req[64:], 1<<64-1) // no cookie
	if err := syscall.Sendto(fd, req, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return 0, err
	}
	answer := make([]byte, 4096)
	n, _, err := syscall.Recvfrom(fd, answer, 0)
	if err != nil || n < diagInode+4 || host.Uint16(answer[4:]) != sockDiagByFamily {
		return 0, err // NLMSG_ERROR: there is none
	}
	return host.Uint32(answer[diagInode:]), nil
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
