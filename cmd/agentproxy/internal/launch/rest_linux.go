package launch

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// endGrace is how long what a command has left behind may take to end by itself.
	endGrace = time.Second
	// endTimeout is when those that cannot be killed are left alone.
	endTimeout = 5 * time.Second
	// endPoll is how often is looked who is left.
	endPoll = time.Millisecond
)

// endAll ends the processes that rest returns: politely, then not.
func endAll(rest func() []int) {
	pids := rest()
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGTERM)
		_ = unix.Kill(pid, unix.SIGCONT) // one that is stopped would not end
	}
	began := time.Now()
	for len(pids) > 0 && time.Since(began) < endTimeout {
		for _, pid := range pids {
			if time.Since(began) > endGrace {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
			// Nobody else waits for those that have ended.
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
		if pids = rest(); len(pids) > 0 {
			time.Sleep(endPoll)
		}
	}
}

// children returns the children of this process.
func children() (pids []int) {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		raw, _ := os.ReadFile(list) // a thread that has ended has none
		for field := range strings.FieldsSeq(string(raw)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// others returns all processes of this PID namespace but this one.
func others() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}
