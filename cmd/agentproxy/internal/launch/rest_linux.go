package launch

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// endGrace is how long left processes may take to end after SIGTERM.
	endGrace = time.Second
	// endTimeout is after how long processes that cannot be killed are left alone.
	endTimeout = 5 * time.Second
	// endPoll is the time between looks for left processes.
	endPoll = time.Millisecond
)

// endAll ends the processes that rest returns: by SIGTERM, and then by SIGKILL.
func endAll(rest func() []int) {
	pids := rest()
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGTERM)
		_ = unix.Kill(pid, unix.SIGCONT) // a stopped process would not end
	}
	began := time.Now()
	for len(pids) > 0 && time.Since(began) < endTimeout {
		for _, pid := range pids {
			if time.Since(began) > endGrace {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
			// Nobody else waits for ended ones.
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
		if pids = rest(); len(pids) > 0 {
			time.Sleep(endPoll)
		}
	}
}

// children returns the children of this process.
func children() (pids []int) {
	const threads = "/proc/self/task/"
	list, _ := os.ReadDir(threads)
	for _, thread := range list {
		raw, _ := os.ReadFile(threads + thread.Name() + "/children") // missing if the thread has ended
		for field := range strings.FieldsSeq(string(raw)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// others returns the other processes of this PID namespace.
func others() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}
