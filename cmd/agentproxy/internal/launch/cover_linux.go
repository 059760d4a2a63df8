package launch

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The names of the view's own entries in its directory.
const (
	emptyFile = ".empty"
	systemDir = ".etc"
)

// viewFlags are the flags of all mounts of a view: nothing in them is executed, a device, or
// written to.
const viewFlags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// viewSize bounds the memory that a view takes.
const viewSize = "16m"

// cover is a file or directory that is mounted over a path.
type cover struct {
	name string // of the view's file, "" for the empty one; a directory is always empty
	kind fs.FileMode
	any  bool // whatever is there is covered
}

// cover mounts the view over what this process and its children see, and returns the covers
// by path. The process needs the capability for that, in a mount namespace of its own.
func (v *View) cover() (map[string]cover, error) {
	all, err := mounts()
	if err != nil {
		return nil, err
	}
	// Later mounts of the machine are seen here, and mounts of here are not seen outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return nil, &stepError{step: "make the mounts private", err: err, general: true}
	}
	// A bind mount of itself keeps a directory from being renamed. Otherwise the command could
	// put another one at its path, for programs outside to write to.
	for _, dir := range v.Pin {
		if err := mountError("keep "+dir+" where it is", unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, "")); err != nil {
			return nil, err
		}
	}
	others := aliases(v.Dir, all)[1:]
	if err := v.makeDir(); err != nil {
		return nil, err
	}
	// First, for it would hide the covers below /etc.
	rename := func(path string) string { return path }
	if len(v.System) > 0 {
		if rename, err = v.coverSystem(all); err != nil {
			return nil, err
		}
	}
	covers := make(map[string]cover)
	for _, dir := range others {
		covers[dir] = cover{kind: fs.ModeDir}
	}
	add := func(path string, c cover) {
		for _, alias := range aliases(path, all) {
			covers[rename(alias)] = c
		}
	}
	for _, path := range v.HideLater {
		add(path, cover{any: true})
	}
	for _, path := range v.HideFiles {
		add(path, cover{name: emptyFile})
	}
	for _, path := range v.HideDirs {
		add(path, cover{kind: fs.ModeDir})
	}
	for path, name := range v.Show {
		add(path, cover{name: name})
	}
	for path, c := range covers {
		if err := v.lay(c, path); err != nil {
			return nil, err
		}
	}
	return covers, readOnly(v.Dir)
}

// makeDir mounts the view's directory and writes its files.
func (v *View) makeDir() error {
	if err := unix.Mount("agentproxy", v.Dir, "tmpfs", viewFlags, "mode=700,size="+viewSize); err != nil {
		return &stepError{step: "mount a file system in memory", err: err, general: true}
	}
	if err := v.own(v.Dir); err != nil {
		return err
	}
	write := func(name string, content []byte) error {
		path := filepath.Join(v.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		return os.WriteFile(path, content, 0o600)
	}
	if err := write(emptyFile, nil); err != nil {
		return err
	}
	for name, content := range v.Files {
		if err := write(name, content); err != nil {
			return err
		}
	}
	for name, target := range v.Links {
		path := filepath.Join(v.Dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.Symlink(target, path)); err != nil {
			return err
		}
	}
	for name, content := range v.System {
		if err := writeSystem(filepath.Join(v.Dir, systemDir, name), content); err != nil {
			return err
		}
	}
	return nil
}

// lay mounts a cover over the file or directory at path, if there is one of that kind.
func (v *View) lay(c cover, path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSymlink != 0 || !c.any && info.Mode()&fs.ModeDir != c.kind {
		// The target of a link is covered itself. The command runs as the same user, so
		// it cannot read what is not found here.
		return nil
	}
	if info.IsDir() {
		return v.hideDir(path)
	}
	if err := unix.Mount(filepath.Join(v.Dir, cmp.Or(c.name, emptyFile)), path, "", unix.MS_BIND, ""); err != nil {
		return mountError("hide "+path, err)
	}
	return readOnly(path)
}

// hideDir mounts an empty directory over the one at path.
//
// The mount is a file system of its own: the sandbox of Codex 0.171 does not start if the
// directory of its servers' sockets is also found under another path.
func (v *View) hideDir(path string) error {
	if err := unix.Mount("agentproxy", path, "tmpfs", viewFlags|unix.MS_RDONLY, "mode=700,size=4k"); err != nil {
		return mountError("hide "+path, err)
	}
	return v.own(path)
}

// own records that the file system at path is the view's.
func (v *View) own(path string) error {
	device, err := deviceOf(path)
	if err != nil {
		return err
	}
	if v.devices == nil {
		v.devices = make(map[uint64]bool)
	}
	v.devices[device] = true
	return nil
}

// readOnly makes the mount at path read-only.
func readOnly(path string) error {
	return mountError("make "+path+" read-only", unix.Mount("", path, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|viewFlags, ""))
}

// stepError is a step towards the view that failed.
type stepError struct {
	step string
	err  error
	// general marks a step that depends on the kernel alone, and on no file of the user's.
	// A command must not be able to bring about that the next one runs without isolation.
	general bool
}

func (e *stepError) Error() string { return e.step + ": " + e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// mountError returns err as the failure of a step that depends on the user's files, nil if
// err is nil.
func mountError(step string, err error) error {
	if err == nil {
		return nil
	}
	return &stepError{step: step, err: err}
}
