package access

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// peerUID returns the user whose process is at the other end of conn, a TCP connection
// within this machine. It asks the kernel for the socket with the addresses of conn the
// other way round (sock_diag(7)).
func peerUID(conn net.Conn) (uid uint32, err error) {
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return 0, err
	}
	remote, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return 0, err
	}
	answer, err := askSockDiag(sockDiagRequest(remote, local))
	if err != nil {
		return 0, fmt.Errorf("ask the kernel who is at %s: %w", remote, err)
	}
	return parseSockDiag(answer, remote.Port(), local.Port())
}

// Sizes and offsets of linux/netlink.h, linux/sock_diag.h and
// linux/inet_diag.h.
const (
	sockDiagRequestSize = unix.SizeofNlMsghdr + 56
	sockDiagPortsOffset = unix.SizeofNlMsghdr + 4
	sockDiagUIDOffset   = unix.SizeofNlMsghdr + 64
	sockDiagInodeOffset = unix.SizeofNlMsghdr + 68
	sockDiagAnswerSize  = unix.SizeofNlMsghdr + 72
	sockDiagTimeout     = time.Second
)

// sockDiagRequest returns a request for the TCP socket from src to dst.
func sockDiagRequest(src, dst netip.AddrPort) []byte {
	request := make([]byte, sockDiagRequestSize)
	native := binary.NativeEndian
	native.PutUint32(request[0:], sockDiagRequestSize)
	native.PutUint16(request[4:], unix.SOCK_DIAG_BY_FAMILY)
	native.PutUint16(request[6:], unix.NLM_F_REQUEST)

	diag := request[unix.SizeofNlMsghdr:] // struct inet_diag_req_v2
	diag[0] = unix.AF_INET6
	srcAddr, dstAddr := src.Addr().Unmap(), dst.Addr().Unmap()
	if srcAddr.Is4() {
		diag[0] = unix.AF_INET
	}
	diag[1] = unix.IPPROTO_TCP
	native.PutUint32(diag[4:], 0xffffffff) // in any state
	id := diag[8:]                         // struct inet_diag_sockid
	binary.BigEndian.PutUint16(id[0:], src.Port())
	binary.BigEndian.PutUint16(id[2:], dst.Port())
	copy(id[4:20], srcAddr.AsSlice())
	copy(id[20:36], dstAddr.AsSlice())
	native.PutUint32(id[40:], 0xffffffff) // no cookie
	native.PutUint32(id[44:], 0xffffffff)
	return request
}

func askSockDiag(request []byte) ([]byte, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	timeout := unix.NsecToTimeval(int64(sockDiagTimeout))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, err
	}
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, err
	}
	answer := make([]byte, 512) // of which the beginning alone is of use
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return nil, err
	}
	return answer[:n], nil
}

var errNoSuchSocket = errors.New("the kernel knows no such connection")

// parseSockDiag returns the user in the kernel's answer, which must be about the socket
// with these ports.
func parseSockDiag(answer []byte, src, dst uint16) (uint32, error) {
	native := binary.NativeEndian
	if len(answer) < unix.SizeofNlMsghdr+4 {
		return 0, errNoSuchSocket
	}
	if native.Uint16(answer[4:]) == unix.NLMSG_ERROR {
		errno := -int32(native.Uint32(answer[unix.SizeofNlMsghdr:]))
		return 0, fmt.Errorf("%w: %w", errNoSuchSocket, unix.Errno(errno))
	}
	if len(answer) < sockDiagAnswerSize {
		return 0, errNoSuchSocket
	}
	// Where there is no such connection, the kernel answers with a listener on
	// the port, which may be anybody's.
	ports := answer[sockDiagPortsOffset:]
	if binary.BigEndian.Uint16(ports) != src || binary.BigEndian.Uint16(ports[2:]) != dst {
		return 0, errNoSuchSocket
	}
	// A socket that no process has accepted yet, or that its process has closed, has no
	// inode, and its user reads as root whoever that is.
	if native.Uint32(answer[sockDiagInodeOffset:]) == 0 {
		return 0, ErrNotAccepted
	}
	return native.Uint32(answer[sockDiagUIDOffset:]), nil
}
