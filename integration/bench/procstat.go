//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// usage is what processes have used.
type usage struct {
	cpu time.Duration // user and system time since they began
	rss int64         // bytes of memory that are resident now
}

// procStat is what is taken from a line of /proc/PID/stat, see proc(5).
type procStat struct {
	pid, parent int
	// ticks is the time of the process and of those children of it that it has
	// waited for.
	ticks int64
	pages int64 // resident
}

// ticksPerSecond is USER_HZ, which is the same on every Linux.
const ticksPerSecond = 100

// parseStat reads a line of /proc/PID/stat. The second field is the program's
// name, which may hold spaces and parentheses.
func parseStat(line string) (procStat, error) {
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return procStat{}, fmt.Errorf("stat %.60q has no name in parentheses", line)
	}
	fields := strings.Fields(line[end+1:]) // from the third on
	if len(fields) < 22 {
		return procStat{}, fmt.Errorf("stat %.60q ends early", line)
	}
	var failed error
	number := func(s string) int64 {
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		failed = errors.Join(failed, err)
		return n
	}
	field := func(n int) int64 { return number(fields[n-3]) }
	s := procStat{
		pid:    int(number(line[:open])),
		parent: int(field(4)),
		ticks:  field(14) + field(15) + field(16) + field(17),
		pages:  field(24),
	}
	return s, failed
}

// treeUsage returns what the process root and all below it have used, as proc
// (usually /proc) tells it.
func treeUsage(proc string, root int) (usage, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return usage{}, err
	}
	stats, children := make(map[int]procStat), make(map[int][]int)
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(proc, entry.Name(), "stat"))
		if err != nil {
			continue // it has ended
		}
		s, err := parseStat(string(raw))
		if err != nil {
			return usage{}, err
		}
		stats[s.pid] = s
		children[s.parent] = append(children[s.parent], s.pid)
	}
	if _, ok := stats[root]; !ok {
		return usage{}, errors.New("it is not running any more")
	}
	var u usage
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		s := stats[queue[0]]
		// Threads that have ended count in the ticks alone.
		u.cpu += max(time.Duration(s.ticks)*(time.Second/ticksPerSecond), threadTime(proc, s.pid))
		u.rss += s.pages * int64(os.Getpagesize())
		queue = append(queue, children[s.pid]...)
	}
	return u, nil
}

// threadTime returns what the threads of a process have run for, to the
// nanosecond, where a tick is longer than many a request: the first field of
// /proc/PID/task/TID/schedstat. It is zero where the kernel does not tell.
func threadTime(proc string, pid int) (total time.Duration) {
	// Where it cannot be read, the process has ended.
	files, _ := filepath.Glob(filepath.Join(proc, strconv.Itoa(pid), "task", "*", "schedstat"))
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		ran, _, _ := strings.Cut(string(raw), " ")
		if n, err := strconv.ParseInt(ran, 10, 64); err == nil {
			total += time.Duration(n)
		}
	}
	return total
}
