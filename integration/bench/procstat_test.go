//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// statLine is a line of /proc/PID/stat.
func statLine(pid int, name string, parent, utime, stime, cutime, cstime, pages int) string {
	return fmt.Sprintf("%d (%s) S %d %d %d 0 -1 4194560 100 0 0 0 %d %d %d %d 20 0 1 0 5000 1000000 %d 18446744073709551615 1 1 0\n",
		pid, name, parent, pid, pid, utime, stime, cutime, cstime, pages)
}

func TestParseStat(t *testing.T) {
	for _, name := range []string{"nginx", "tmux: server", "a) S 7 (b", ""} {
		got, err := parseStat(statLine(42, name, 7, 1, 20, 300, 4000, 55))
		want := procStat{pid: 42, parent: 7, ticks: 4321, pages: 55}
		if err != nil || got != want {
			t.Errorf("name %q: %+v, %v, want %+v", name, got, err, want)
		}
	}
	for _, line := range []string{"", "42", "42 (x", "42 (x) S 7", ")(", strings.Replace(statLine(42, "x", 7, 1, 2, 3, 4, 5), "4194560 100 0 0 0 1", "4194560 100 0 0 0 x", 1)} {
		if got, err := parseStat(line); err == nil {
			t.Errorf("line %q was taken for %+v", line, got)
		}
	}
}

func TestTreeUsage(t *testing.T) {
	proc := t.TempDir()
	for _, line := range []string{
		statLine(10, "other", 1, 900, 0, 0, 0, 900),
		statLine(20, "master", 1, 1, 1, 1, 1, 1),
		statLine(21, "worker", 20, 10, 0, 0, 0, 2),
		statLine(22, "helper", 21, 0, 100, 0, 0, 3),
	} {
		pid, _, _ := strings.Cut(line, " ")
		if err := os.Mkdir(filepath.Join(proc, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "stat"), []byte(line), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Of the helper's threads one has ended, of the worker's none.
	for file, content := range map[string]string{
		"21/task/21/schedstat": "70123456 5 1\n", "21/task/23/schedstat": "36000000 7 2\n",
		"22/task/22/schedstat": "500000000 5 1\n", "22/task/24/schedstat": "?\n",
	} {
		file = filepath.Join(proc, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(proc, "self"), 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := treeUsage(proc, 20)
	want := usage{cpu: 40*time.Millisecond + 106123456 + time.Second, rss: 6 * int64(os.Getpagesize())}
	if err != nil || got != want {
		t.Errorf("usage %+v, %v, want %+v", got, err, want)
	}
	if _, err := treeUsage(proc, 30); err == nil {
		t.Error("a process that is not there has a usage")
	}
}

func TestOwnUsage(t *testing.T) {
	u, err := treeUsage("/proc", os.Getpid())
	if err != nil || u.rss < 1<<20 {
		t.Errorf("the test itself uses %+v, %v", u, err)
	}
}

func TestParsePeak(t *testing.T) {
	got, err := parsePeak("Name:\tagentproxy\nVmPeak:\t 1263616 kB\nVmHWM:\t   16924 kB\nVmRSS:\t 1 kB\n")
	if err != nil || got != 17.330176 {
		t.Errorf("peak %v, %v", got, err)
	}
	for _, status := range []string{"", "VmRSS: 1 kB\n", "VmHWM: many kB\n"} {
		if got, err := parsePeak(status); err == nil {
			t.Errorf("status %q has the peak %v", status, got)
		}
	}
}
