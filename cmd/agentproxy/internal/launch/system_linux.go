package launch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const etc = "/etc"

// coverSystem lays the view's files over /etc, of which all else stays what it is.
func (v *View) coverSystem(all []mount) error {
	// What is mounted below, as containers have it, would be hidden.
	kept := map[string]int{}
	defer func() {
		for _, fd := range kept {
			unix.Close(fd)
		}
	}()
	var order []string
	for _, m := range all {
		if rel, ok := below(m.point, etc); !ok || rel == "" {
			continue
		}
		if fd, err := unix.Open(m.point, unix.O_PATH|unix.O_CLOEXEC, 0); err == nil {
			if former, ok := kept[m.point]; ok {
				unix.Close(former)
			} else {
				order = append(order, m.point)
			}
			kept[m.point] = fd
		}
	}
	// Relative, for in these options a colon or a comma in a path means something.
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := os.Chdir(v.Dir); err != nil {
		return err
	}
	err = unix.Mount("agentproxy", etc, "overlay", unix.MS_NOSUID|unix.MS_NODEV, "lowerdir="+systemDir+":"+etc)
	if err := errors.Join(mountError("lay a file over /etc", err), os.Chdir(dir)); err != nil {
		return err
	}
	for _, point := range order {
		if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", kept[point]), point, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return mountError("keep "+point, err)
		}
	}
	return nil
}

// writeSystem writes a file to be found below /etc, which all users of a command
// that root has started go on reading.
func writeSystem(path string, content []byte) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644))
}
