//go:build linux

package integration

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// memoryBound has a program run with a bound of its memory.
type memoryBound struct {
	how     string
	starter []string // runs the program that follows
	usage   string   // the file that has what it uses, "" if there is none
}

// boundMemory returns a bound of so many bytes: a cgroup of either version, or where this
// process may make none the kernel's limit of a process's data.
func boundMemory(t *testing.T, most int64) memoryBound {
	t.Helper()
	var tried []error
	for _, v := range []struct{ version, parent, limit, usage string }{
		{"cgroup v2", "/sys/fs/cgroup", "memory.max", "memory.current"},
		{"cgroup v1", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"},
	} {
		dir := filepath.Join(v.parent, fmt.Sprintf("agentproxy-test-%d-%d", os.Getpid(), time.Now().UnixNano()))
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			err = writeExisting(filepath.Join(dir, v.limit), strconv.FormatInt(most, 10))
		}
		if err != nil {
			_ = os.Remove(dir)
			tried = append(tried, err)
			continue
		}
		t.Cleanup(func() { // when what ran in it has ended
			for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
				if err := os.Remove(dir); err == nil || errors.Is(err, os.ErrNotExist) {
					return
				} else if time.Now().After(deadline) {
					t.Error(err)
					return
				}
			}
		})
		return memoryBound{v.version, []string{"sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, dir}, filepath.Join(dir, v.usage)}
	}
	// No cgroup says how much there is, so that it has to be said.
	t.Logf("no cgroup can be made here (%v): RLIMIT_DATA", errors.Join(tried...))
	return memoryBound{"RLIMIT_DATA", []string{"sh", "-c", `ulimit -d "$0" && GOMEMLIMIT="$1" && export GOMEMLIMIT && shift && exec "$@"`,
		strconv.FormatInt(most>>10, 10), strconv.FormatInt(most/10*9, 10)}, ""}
}

// writeExisting writes to a file that the kernel has made.
func writeExisting(path, content string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(content)
	return errors.Join(err, file.Close())
}

// used returns how much p uses, in bytes.
func (b memoryBound) used(t *testing.T, p *proxy) int64 {
	t.Helper()
	if b.usage == "" {
		return int64(p.kilobytes(t)) << 10
	}
	n, err := strconv.ParseInt(strings.TrimSpace(readFile(t, b.usage)), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
