package launch

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	etc = "/etc"
	// realEtc is where the machine's own is found if it is shown entry by entry.
	realEtc = ".machine"
)

// coverSystem lays the view's files over /etc, of which all else stays what it is. It
// returns how a path below /etc is to be named when it is covered itself.
func (v *View) coverSystem(all []mount) (rename func(string) string, err error) {
	same := func(path string) string { return path }
	for _, m := range all {
		// The kernel lays nothing over a directory that it would show bare of what is
		// mounted below, as containers have it.
		if rel, ok := below(m.point, etc); ok && rel != "" {
			return inRealEtc, v.linkSystem()
		}
	}
	// Relative, for in these options a colon or a comma in a path means something.
	dir, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	if err := os.Chdir(v.Dir); err != nil {
		return nil, err
	}
	err = unix.Mount("agentproxy", etc, "overlay", unix.MS_NOSUID|unix.MS_NODEV, "lowerdir="+systemDir+":"+etc)
	if err := os.Chdir(dir); err != nil {
		return nil, err
	}
	if err != nil { // its file system can be below no other
		return inRealEtc, v.linkSystem()
	}
	return same, nil
}

// inRealEtc returns where a path is found that the view has below /etc.
func inRealEtc(path string) string {
	if rel, ok := below(path, etc); ok {
		return filepath.Join(etc, realEtc, rel)
	}
	return path
}

// linkSystem makes an /etc of links to the machine's own, entry by entry, and of the
// view's files.
func (v *View) linkSystem() error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, etc, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return generalError("take /etc", err)
	}
	defer unix.Close(tree)
	if err := unix.Mount("agentproxy", etc, "tmpfs", viewFlags, "mode=755,size=1m"); err != nil {
		return generalError("mount another /etc", err)
	}
	machine := filepath.Join(etc, realEtc)
	if err := os.Mkdir(machine, 0o755); err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, machine, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return generalError("keep /etc", err)
	}
	for name, content := range v.System {
		if err := writeSystem(filepath.Join(etc, name), content); err != nil {
			return err
		}
		// What the machine has beside the file, in each directory above it.
		for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
			if err := linkEntries(dir); err != nil {
				return err
			}
			if dir == "." {
				break
			}
		}
	}
	return readOnly(etc)
}

// linkEntries links to all that the machine has in a directory of its /etc and that
// the new one has not.
func linkEntries(dir string) error {
	entries, err := os.ReadDir(filepath.Join(etc, realEtc, dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	up := ""
	if dir != "." {
		up = strings.Repeat("../", strings.Count(dir, "/")+1)
	}
	for _, entry := range entries {
		target := up + filepath.Join(realEtc, dir, entry.Name())
		if err := os.Symlink(target, filepath.Join(etc, dir, entry.Name())); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// writeSystem writes a file to be found below /etc, which all users of a command
// that root has started go on reading.
func writeSystem(path string, content []byte) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644))
}
