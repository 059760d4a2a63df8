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
	// realEtc is the machine's /etc if links lead to its entries.
	realEtc = ".machine"
)

// coverSystem adds the view's files to /etc. rename returns the path by which a path below
// /etc is covered.
func (v *View) coverSystem(all []mount) (rename func(string) string, err error) {
	same := func(path string) string { return path }
	for _, m := range all {
		// The kernel mounts no overlay that would hide mounts below, as in containers.
		if rel, ok := below(m.point, etc); ok && rel != "" {
			return inRealEtc, v.linkSystem()
		}
	}
	// Relative, for colons and commas in a path have a meaning in these options.
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
	if err != nil { // its file system cannot be below an overlay
		return inRealEtc, v.linkSystem()
	}
	return same, nil
}

// inRealEtc returns the path in the machine's /etc of a path below /etc.
func inRealEtc(path string) string {
	if rel, ok := below(path, etc); ok {
		return filepath.Join(etc, realEtc, rel)
	}
	return path
}

// linkSystem makes an /etc of the view's files and of links to the entries of the machine's.
func (v *View) linkSystem() error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, etc, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return &stepError{step: "take /etc", err: err, general: true}
	}
	defer unix.Close(tree)
	if err := unix.Mount("agentproxy", etc, "tmpfs", viewFlags, "mode=755,size=1m"); err != nil {
		return &stepError{step: "mount another /etc", err: err, general: true}
	}
	machine := filepath.Join(etc, realEtc)
	if err := os.Mkdir(machine, 0o755); err != nil {
		return err
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, machine, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return &stepError{step: "keep /etc", err: err, general: true}
	}
	for name, content := range v.System {
		if err := writeSystem(filepath.Join(etc, name), content); err != nil {
			return err
		}
		// The machine's entries beside the file and beside each directory above it.
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

// linkEntries links to the entries of a directory of the machine's /etc that the new one
// lacks.
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

// writeSystem writes a file of /etc. All users may read it, for root's command may start
// programs as others.
func writeSystem(path string, content []byte) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o644))
}
