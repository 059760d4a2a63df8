//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const own = unix.CLONE_NEWUSER | unix.CLONE_NEWNS

// mountWays use a user namespace and a mount namespace of their own, in which they
// are root.
func mountWays() []way {
	return []way{
		{"unmounting the cover", false, own, func(t target) ([]byte, error) { return unmounted(t, 0) }},
		{"detaching the cover", false, own, func(t target) ([]byte, error) { return unmounted(t, unix.MNT_DETACH) }},
		{"unmounting by a descriptor", false, own, func(t target) ([]byte, error) {
			fd, err := unix.Open(t.auth(), unix.O_PATH, 0)
			if err != nil {
				return nil, err
			}
			err = unix.Unmount(procFD(fd), unix.MNT_DETACH)
			raw, readErr := os.ReadFile(t.auth())
			return raw, errors.Join(err, readErr)
		}},
		{"detaching everything", false, own, func(t target) ([]byte, error) {
			info, err := os.ReadFile("/proc/self/mountinfo")
			if err != nil {
				return nil, err
			}
			for line := range strings.Lines(string(info)) {
				if fields := strings.Fields(line); len(fields) > 4 && fields[4] != "/proc" {
					err = errors.Join(err, unix.Unmount(fields[4], unix.MNT_DETACH))
				}
			}
			raw, _ := os.ReadFile(t.auth())
			state, _ := readTree(t.State)
			return append(raw, state...), err
		}},
		{"moving the cover", false, own, func(t target) ([]byte, error) {
			to, err := scratchFile(t, "moved-to")
			if err != nil {
				return nil, err
			}
			err = unix.Mount(t.auth(), to, "", unix.MS_MOVE, "")
			raw, readErr := os.ReadFile(t.auth())
			return raw, errors.Join(err, readErr)
		}},
		{"move_mount", false, own, func(t target) ([]byte, error) {
			tree, err := unix.OpenTree(unix.AT_FDCWD, t.auth(), 0)
			if err != nil {
				return nil, err
			}
			to, err := scratchFile(t, "moved-to")
			if err != nil {
				return nil, err
			}
			err = unix.MoveMount(tree, "", unix.AT_FDCWD, to, unix.MOVE_MOUNT_F_EMPTY_PATH)
			raw, readErr := os.ReadFile(t.auth())
			return raw, errors.Join(err, readErr)
		}},
		{"a bind mount of the file", false, own, func(t target) ([]byte, error) {
			to, err := scratchFile(t, "bound")
			if err != nil {
				return nil, err
			}
			err = unix.Mount(t.auth(), to, "", unix.MS_BIND, "")
			raw, readErr := os.ReadFile(to)
			return raw, errors.Join(err, readErr)
		}},
		{"bind mounts of the directories", true, own, func(t target) ([]byte, error) { return boundDirs(t, unix.MS_BIND) }},
		{"recursive bind mounts of the directories", true, own, func(t target) ([]byte, error) { return boundDirs(t, unix.MS_BIND|unix.MS_REC) }},
		{"a recursive bind mount, private, unmounted", false, own, func(t target) ([]byte, error) {
			dir, err := scratchDir(t, "private")
			if err != nil {
				return nil, err
			}
			errs := []error{
				unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
				unix.Mount(t.Home, dir, "", unix.MS_BIND|unix.MS_REC, ""),
				unix.Unmount(filepath.Join(dir, "auth.json"), unix.MNT_DETACH),
			}
			raw, err := readHome(dir)
			return raw, errors.Join(append(errs, err)...)
		}},
		{"open_tree", true, own, func(t target) ([]byte, error) { return clonedTree(t, 0) }},
		{"open_tree, recursive", true, own, func(t target) ([]byte, error) { return clonedTree(t, unix.AT_RECURSIVE) }},
		{"overlays of the directories", true, own, func(t target) ([]byte, error) {
			var all []byte
			var errs []error
			for _, lower := range upwards(t.Home) {
				raw, err := overlay(t, lower)
				all, errs = append(all, raw...), append(errs, err)
			}
			state, err := overlay(t, t.State)
			return append(all, state...), errors.Join(append(errs, err)...)
		}},
		{"the root, moved", true, own, func(t target) ([]byte, error) {
			dir, err := scratchDir(t, "root")
			if err != nil {
				return nil, err
			}
			if err := unix.Mount("/", dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
				return nil, err
			}
			if err := os.Chdir(dir); err != nil {
				return nil, err
			}
			if err := unix.PivotRoot(".", "."); err != nil {
				return nil, err
			}
			_ = unix.Unmount(".", unix.MNT_DETACH)
			_ = unix.Unmount(t.auth(), unix.MNT_DETACH)
			return os.ReadFile(t.auth())
		}},
		{"chroot", true, own, func(t target) ([]byte, error) {
			if err := unix.Chroot(filepath.Dir(t.Home)); err != nil {
				return nil, err
			}
			return os.ReadFile("/" + filepath.Base(t.Home) + "/auth.json")
		}},
		{"chroot and out of it", true, own, func(t target) ([]byte, error) {
			dir, err := scratchDir(t, "jail")
			if err != nil {
				return nil, err
			}
			if err := errors.Join(os.Chdir("/"), unix.Chroot(dir)); err != nil {
				return nil, err
			}
			return os.ReadFile("." + t.auth())
		}},
		{"remounting", false, own, func(t target) ([]byte, error) {
			err := unix.Mount("", t.auth(), "", unix.MS_REMOUNT|unix.MS_BIND, "")
			err = errors.Join(err, unix.Mount("", t.State, "", unix.MS_REMOUNT, "size=1"))
			if f, openErr := os.OpenFile(t.auth(), os.O_WRONLY, 0); openErr == nil {
				f.Close()
				return nil, reached("the log-in can be written")
			}
			return nil, err
		}},
		{"mount_setattr", false, own, func(t target) ([]byte, error) {
			err := unix.MountSetattr(unix.AT_FDCWD, t.auth(), 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOEXEC})
			return nil, unless(err, "the cover's attributes can be changed")
		}},
		{"fspick", false, own, func(t target) ([]byte, error) {
			fd, err := unix.Fspick(unix.AT_FDCWD, t.State, 0)
			return nil, unless(errors.Join(err, fsReconfigure(fd)), "the cover's file system can be changed")
		}},
		{"other file systems", false, own, func(t target) ([]byte, error) {
			dir, err := scratchDir(t, "other")
			if err != nil {
				return nil, err
			}
			var all []byte
			for _, kind := range []string{"ext4", "xfs", "btrfs", "squashfs", "9p", "virtiofs", "nfs"} {
				for _, source := range []string{"/dev/vda", "/dev/sda1", "/dev/root", "127.0.0.1:/"} {
					if unix.Mount(source, dir, kind, unix.MS_RDONLY, "") == nil {
						raw, _ := os.ReadFile(filepath.Join(dir, t.auth()))
						all = append(all, raw...)
						_ = unix.Unmount(dir, unix.MNT_DETACH)
					}
				}
			}
			return all, nil
		}},
		{"a new /proc", false, own | unix.CLONE_NEWPID, func(t target) ([]byte, error) {
			dir, err := scratchDir(t, "proc")
			if err != nil {
				return nil, err
			}
			if err := unix.Mount("proc", dir, "proc", 0, ""); err != nil {
				return nil, err
			}
			return os.ReadFile(dir + "/1/root" + t.auth())
		}},
		{"namespaces in namespaces", false, own, func(t target) ([]byte, error) {
			runtime.LockOSThread()
			for range 4 {
				// A thread of many cannot have a user namespace of its own.
				if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
					return nil, err
				}
				_ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, "")
				_ = unix.Unmount(t.auth(), unix.MNT_DETACH)
				_ = unix.Unmount(t.State, unix.MNT_DETACH)
			}
			raw, err := os.ReadFile(t.auth())
			state, _ := readTree(t.State)
			return append(raw, state...), err
		}},
		{"removing as root of a namespace", false, own, func(t target) ([]byte, error) {
			defer keep(t)()
			return nil, unless(os.Remove(t.auth()), "the log-in was removed from inside")
		}},
	}
}

func scratchFile(t target, name string) (string, error) {
	path := filepath.Join(t.Scratch, name)
	return path, os.WriteFile(path, nil, 0o600)
}

func scratchDir(t target, name string) (string, error) {
	path := filepath.Join(t.Scratch, name)
	return path, os.MkdirAll(path, 0o700)
}

func unmounted(t target, flags int) ([]byte, error) {
	err := errors.Join(unix.Unmount(t.auth(), flags), unix.Unmount(t.State, flags))
	raw, readErr := os.ReadFile(t.auth())
	state, _ := readTree(t.State)
	return append(raw, state...), errors.Join(err, readErr)
}

// upwards returns a directory and those above it, the root included.
func upwards(dir string) []string {
	dirs := []string{dir}
	for dir != "/" {
		dir = filepath.Dir(dir)
		dirs = append(dirs, dir)
	}
	return dirs
}

// boundDirs mounts each directory above the log-in elsewhere and looks there.
func boundDirs(t target, flags uintptr) ([]byte, error) {
	var all []byte
	var errs []error
	for _, dir := range append(upwards(t.Home), upwards(t.State)...) {
		to, err := scratchDir(t, "bound-dir")
		if err != nil {
			return nil, err
		}
		if err := unix.Mount(dir, to, "", flags, ""); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, path := range []string{t.auth(), t.State + "/identity.json"} {
			if rel, err := filepath.Rel(dir, path); err == nil {
				copied := filepath.Join(to, rel)
				_ = unix.Unmount(copied, unix.MNT_DETACH)
				raw, err := os.ReadFile(copied)
				all, errs = append(all, raw...), append(errs, err)
			}
		}
		_ = unix.Unmount(to, unix.MNT_DETACH)
	}
	return all, errors.Join(errs...)
}

// clonedTree looks into detached copies of the directories above the log-in.
func clonedTree(t target, flags uint) ([]byte, error) {
	var all []byte
	var errs []error
	for _, dir := range upwards(t.Home) {
		tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|flags)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		rel, err := filepath.Rel(dir, t.auth())
		if err != nil {
			return nil, err
		}
		raw, err := openAt(tree, rel)
		all, errs = append(all, raw...), append(errs, err)
	}
	return all, errors.Join(errs...)
}

// overlay looks for the log-in and the state through an overlay of a directory.
func overlay(t target, lower string) ([]byte, error) {
	to, err := scratchDir(t, "overlay")
	if err != nil {
		return nil, err
	}
	empty, err := scratchDir(t, "empty")
	if err != nil {
		return nil, err
	}
	if err := unix.Mount("overlay", to, "overlay", 0, "lowerdir="+empty+":"+lower); err != nil {
		return nil, err
	}
	defer unix.Unmount(to, unix.MNT_DETACH)
	if rel, err := filepath.Rel(lower, t.auth()); err == nil && !strings.HasPrefix(rel, "..") {
		return os.ReadFile(filepath.Join(to, rel))
	}
	return readTree(to)
}

// fsReconfigure changes a file system by fsconfig(2).
func fsReconfigure(fd int) error {
	const reconfigure = 7 // FSCONFIG_CMD_RECONFIGURE
	if _, _, errno := unix.Syscall6(unix.SYS_FSCONFIG, uintptr(fd), reconfigure, 0, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}
