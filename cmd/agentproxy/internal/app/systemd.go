package app

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
)

// Sockets are the listening sockets that systemd has opened for this program
// (sd_listen_fds(3)) and that are not in use yet. Clients that connect before this program
// runs are served when it does.
//
// Each belongs to the listener of the configuration with its address, so that the checks
// of the configuration hold for it, too.
type Sockets struct{ passed []net.Listener }

// PassedSockets takes over the sockets. Children of this program do not inherit them.
func PassedSockets() (*Sockets, error) {
	var s Sockets
	for _, file := range activation.Files(true) {
		l, err := net.FileListener(file) // of its own, so file is not needed any more
		err = errors.Join(err, file.Close())
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("systemd passed the socket %s, on which nothing can be listened: %w; use ListenStream= alone in the socket unit", file.Name(), err)
		}
		s.passed = append(s.passed, l)
	}
	return &s, nil
}

// Listen returns the passed socket of address, "host:port" or "unix:/path", or opens one.
func (s *Sockets) Listen(address string) (net.Listener, error) {
	i := slices.IndexFunc(s.passed, func(l net.Listener) bool { return listensOn(l, address) })
	if i < 0 {
		return Listen(address)
	}
	l := s.passed[i]
	if err := checkPrivate(l); err != nil {
		return nil, err
	}
	s.passed = slices.Delete(s.passed, i, i+1)
	return l, nil
}

// Unused returns an error if a socket is left that belongs to no listener: its clients would
// wait for ever.
func (s *Sockets) Unused() error {
	var err error
	for _, l := range s.passed {
		err = errors.Join(err, fmt.Errorf("systemd passed a socket on %s, which is none of the addresses in the configuration; have ListenStream= and listen (or admin) say the same", ListenName(l)))
	}
	return err
}

// Close closes the sockets that were not used.
func (s *Sockets) Close() {
	for _, l := range s.passed {
		_ = l.Close()
	}
}

// listensOn reports whether address is where l listens.
func listensOn(l net.Listener, address string) bool {
	network, addr, err := config.ParseAddress(address)
	if err != nil || l.Addr().Network() != network {
		return false
	}
	got, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return l.Addr().String() == addr
	}
	want, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil || got.Port != want.Port {
		return false
	}
	everywhere := want.IP == nil || want.IP.IsUnspecified()
	return got.IP.Equal(want.IP) || everywhere && got.IP.IsUnspecified()
}

// checkPrivate returns an error if others than the owner can connect to a Unix socket, as
// they can by systemd's default.
func checkPrivate(l net.Listener) error {
	if l.Addr().Network() != "unix" {
		return nil
	}
	path := l.Addr().String()
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("look at the socket that systemd passed: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 || info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("listen on %s: systemd made it with mode %04o, so that others can connect; set SocketMode=0600 in the socket unit", path, mode)
	}
	return nil
}

// Notify reports a state to systemd if that expects it (sd_notify(3)).
func Notify(log zerolog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn().AnErr("error", err).Msg("systemd could not be told how the program is; look at NOTIFY_SOCKET")
	}
}
