package launch

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// inherited returns copies of the descriptors that this process was started with, from 3
// on, which the command inherits: of a shell's <(…), or a make's job server. Directories,
// which lead round every cover, and regular files, which may be hidden, are nil and closed
// in the command. Descriptors beyond the list would stay open, so it has all. The caller
// closes the copies.
func inherited(network bool) ([]*os.File, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || fd < 3 {
			continue
		}
		// Descriptors that this program opens itself are closed on exec.
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		for len(files) <= fd-3 {
			files = append(files, nil)
		}
		if !leadsNowhere(fd, network) {
			continue
		}
		duplicate, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files[fd-3] = os.NewFile(uintptr(duplicate), entry.Name())
	}
	return files, nil
}

// leadsNowhere reports whether fd leads to no files and, for a command with a network of its
// own, to no other network: it is a pipe, a terminal or the like, or a socket.
func leadsNowhere(fd int, network bool) bool {
	var stat unix.Stat_t
	if unix.Fstat(fd, &stat) != nil {
		return false
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFCHR:
		return true
	case unix.S_IFSOCK:
		return !network || isLocalSocket(fd)
	}
	return false
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // a nil is fine
	}
}

// isLocalSocket reports whether fd is a Unix socket, which crosses no network.
func isLocalSocket(fd int) bool {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err == nil && domain == unix.AF_UNIX
}
