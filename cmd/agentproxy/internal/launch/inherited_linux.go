package launch

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// inherited returns the descriptors that this process was started with, from the
// third on, for a command that is to find them where they are: a shell's <(…), a
// make's job server. Left out (nil) are directories, which lead round every cover,
// and regular files: what is open outside may be what is hidden inside. A nil has
// the descriptor closed in the command; one beyond the list would stay open, so the
// list covers all. The files are copies, to be closed: the originals are not this
// program's to close.
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
		// All that this program opens itself is closed when it executes another.
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

// leadsNowhere reports whether fd is a pipe, a socket or a terminal or the like,
// and not a way to files, nor, for a command with a network of its own, to another.
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
		_ = f.Close() // of none, it does nothing
	}
}

// isLocalSocket reports whether fd is a socket of this machine's processes, which
// crosses no network.
func isLocalSocket(fd int) bool {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err == nil && domain == unix.AF_UNIX
}
