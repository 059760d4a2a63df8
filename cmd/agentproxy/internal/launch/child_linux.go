package launch

import (
	"fmt"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

func setParentDeathSignal(child *exec.Cmd) {
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}

// adoptOrphans makes this process the parent of what a command leaves behind. end ends all
// of it.
func adoptOrphans() (end func(), err error) {
	switch err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err {
	case nil:
	case unix.EINVAL:
		return func() {}, nil // qemu-user has it not, nor have other systems
	default:
		return nil, fmt.Errorf("adopt what the command leaves behind: %w", err)
	}
	before := make(map[int]bool)
	for _, pid := range children() {
		before[pid] = true
	}
	return func() {
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
		endAll(func() (rest []int) {
			for _, pid := range children() {
				if !before[pid] {
					rest = append(rest, pid)
				}
			}
			return rest
		})
	}, nil
}
