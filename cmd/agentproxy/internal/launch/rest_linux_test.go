package launch

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// TestEndAll ends processes that do not want to, that are stopped, and that leave
// others behind.
func TestEndAll(t *testing.T) {
	var pids []int
	for _, script := range []string{
		"exec sleep 1000", "trap '' TERM; echo; while :; do sleep 1000; done", "kill -STOP $$; sleep 1000",
	} {
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, cmd.Process.Pid)
		t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // what the shells have started
	}
	endAll(func() (rest []int) {
		for _, pid := range pids {
			if syscall.Kill(pid, 0) == nil {
				rest = append(rest, pid)
			}
		}
		return rest
	})
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
			t.Errorf("process %d: %v", pid, err)
		}
	}
}

func TestOwnIDs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "map")
	single := []syscall.SysProcIDMap{{ContainerID: 7, HostID: 7, Size: 1}}
	for content, want := range map[string][]syscall.SysProcIDMap{
		"         0          0 4294967295\n": {{ContainerID: 0, HostID: 0, Size: 4294967295}},
		"0 1000 1\n1 100000 65536\n":         {{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: 1, HostID: 1, Size: 65536}},
		"":                                   single,
		"0 0\n":                              single,
		"0 0 many\n":                         single,
	} {
		write(t, file, content)
		if os.Geteuid() != 0 {
			want = single // all others may map themselves alone
		}
		if got := ownIDs(file, 7); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", content, got, want)
		}
	}
	if got := ownIDs(file+"-none", 7); !slices.Equal(got, single) {
		t.Errorf("without a file: %v", got)
	}
}
