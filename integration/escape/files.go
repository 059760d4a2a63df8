//go:build linux

package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fileWays need nothing but the right to open files.
func fileWays() []way {
	return []way{
		{"the file", true, 0, func(t target) ([]byte, error) { return os.ReadFile(t.auth()) }},
		{"the state directory", true, 0, func(t target) ([]byte, error) { return readTree(t.State) }},
		{"the configuration", true, 0, func(t target) ([]byte, error) { return os.ReadFile(t.Config) }},
		{"everything in the home", true, 0, func(t target) ([]byte, error) { return readTree(t.Home) }},
		{"everything beside the home", true, 0, func(t target) ([]byte, error) { return readTree(filepath.Dir(t.Home)) }},
		{"a shell", true, 0, func(t target) ([]byte, error) {
			return exec.Command("/bin/sh", "-c", `cat < "$0"`, t.auth()).Output()
		}},
		{"a copy of the state directory", true, 0, copyState},
		{"a symbolic link", true, 0, byName(func(t target, name string) error { return os.Symlink(t.auth(), name) })},
		{"a link to its directory", true, 0, func(t target) ([]byte, error) {
			link := filepath.Join(t.Scratch, "directory-link")
			defer os.Remove(link)
			err := os.Symlink(t.Home, link)
			raw, readErr := os.ReadFile(filepath.Join(link, "auth.json"))
			return raw, errors.Join(err, readErr)
		}},
		{"a hard link", true, 0, byName(func(t target, name string) error { return os.Link(t.auth(), name) })},
		{"a hard link beside it", true, 0, func(t target) ([]byte, error) {
			name := filepath.Join(t.Home, "beside")
			defer os.Remove(name)
			err := os.Link(t.auth(), name)
			raw, readErr := os.ReadFile(name)
			return raw, errors.Join(err, readErr)
		}},
		{"a hard link by a descriptor", true, 0, byName(func(t target, name string) error {
			fd, err := unix.Open(t.auth(), unix.O_PATH, 0)
			if err != nil {
				return err
			}
			return unix.Linkat(unix.AT_FDCWD, procFD(fd), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
		})},
		{"renaming the file", true, 0, func(t target) ([]byte, error) {
			name := filepath.Join(t.Home, "renamed")
			err := os.Rename(t.auth(), name)
			if err == nil {
				defer os.Rename(name, t.auth())
			}
			raw, readErr := os.ReadFile(name)
			return raw, errors.Join(err, readErr)
		}},
		{"exchanging the file", true, 0, func(t target) ([]byte, error) {
			name := filepath.Join(t.Home, "exchanged")
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				return nil, err
			}
			defer os.Remove(name)
			exchange := func() error {
				return unix.Renameat2(unix.AT_FDCWD, t.auth(), unix.AT_FDCWD, name, unix.RENAME_EXCHANGE)
			}
			if err := exchange(); err != nil {
				return nil, err
			}
			defer exchange()
			return os.ReadFile(name)
		}},
		{"replacing the file", false, 0, func(t target) ([]byte, error) {
			name := filepath.Join(t.Home, "replacement")
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				return nil, err
			}
			defer os.Remove(name)
			defer keep(t)()
			return nil, unless(os.Rename(name, t.auth()), "the log-in was replaced from inside")
		}},
		{"removing the file", false, 0, func(t target) ([]byte, error) {
			defer keep(t)()
			return nil, unless(os.Remove(t.auth()), "the log-in was removed from inside")
		}},
		{"writing to the file", false, 0, func(t target) ([]byte, error) {
			f, err := os.OpenFile(t.auth(), os.O_WRONLY, 0)
			return nil, unless(errors.Join(err, f.Close()), "the log-in can be written")
		}},
		{"renaming the home", true, 0, func(t target) ([]byte, error) {
			to := t.Home + "-moved"
			if err := os.Rename(t.Home, to); err != nil {
				return nil, err
			}
			defer os.Rename(to, t.Home)
			return readHome(to)
		}},
		{"renaming the state directory", true, 0, func(t target) ([]byte, error) {
			to := t.State + "-moved"
			if err := os.Rename(t.State, to); err != nil {
				return nil, err
			}
			defer os.Rename(to, t.State)
			return readTree(to)
		}},
		{"dots", true, 0, func(t target) ([]byte, error) {
			return os.ReadFile(t.Home + "/../" + filepath.Base(t.Home) + "/./auth.json")
		}},
		{"its directory's descriptor", true, 0, func(t target) ([]byte, error) {
			dir, err := unix.Open(t.Home, unix.O_PATH|unix.O_DIRECTORY, 0)
			if err != nil {
				return nil, err
			}
			return openAt(dir, "auth.json")
		}},
		{"openat2", true, 0, func(t target) ([]byte, error) {
			dir, err := unix.Open(t.Home, unix.O_PATH|unix.O_DIRECTORY, 0)
			if err != nil {
				return nil, err
			}
			fd, err := unix.Openat2(dir, "auth.json", &unix.OpenHow{Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
			if err != nil {
				return nil, err
			}
			return readAll(fd)
		}},
		{"openat2 across no mount", true, 0, func(t target) ([]byte, error) {
			dir, err := unix.Open(t.Home, unix.O_PATH|unix.O_DIRECTORY, 0)
			if err != nil {
				return nil, err
			}
			fd, err := unix.Openat2(dir, "auth.json", &unix.OpenHow{Resolve: unix.RESOLVE_NO_XDEV})
			if err != nil {
				return nil, err
			}
			return readAll(fd)
		}},
		{"O_PATH and /proc/self/fd", true, 0, func(t target) ([]byte, error) {
			fd, err := unix.Open(t.auth(), unix.O_PATH|unix.O_NOFOLLOW, 0)
			if err != nil {
				return nil, err
			}
			return os.ReadFile(procFD(fd))
		}},
		{"mmap", true, 0, func(t target) ([]byte, error) {
			f, err := os.Open(t.auth())
			if err != nil {
				return nil, err
			}
			info, err := f.Stat()
			if err != nil {
				return nil, err
			}
			return unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
		}},
		{"sendfile", true, 0, func(t target) ([]byte, error) {
			f, err := os.Open(t.auth())
			if err != nil {
				return nil, err
			}
			to, err := unix.MemfdCreate("copy", 0)
			if err != nil {
				return nil, err
			}
			_, err = unix.Sendfile(to, int(f.Fd()), nil, maxGot)
			raw, readErr := readAll(to)
			return raw, errors.Join(err, readErr)
		}},
		{"io_uring", true, 0, uringRead},
		{"a program in memory", true, 0, func(t target) ([]byte, error) {
			cat, err := os.ReadFile("/bin/cat")
			if err != nil {
				return nil, err
			}
			fd, err := unix.MemfdCreate("cat", 0)
			if err != nil {
				return nil, err
			}
			if _, err := unix.Write(fd, cat); err != nil {
				return nil, err
			}
			return exec.Command("/proc/"+itoa(os.Getpid())+"/fd/"+itoa(fd), t.auth()).Output()
		}},
		{"the name in capitals", false, 0, func(t target) ([]byte, error) {
			return os.ReadFile(filepath.Join(t.Home, strings.ToUpper("auth.json")))
		}},
		{"a file handle", false, 0, handleRead},
		{"a file handle of the home", false, unix.CLONE_NEWUSER | unix.CLONE_NEWNS, handleRead},
		{"the block devices", false, 0, func(target) ([]byte, error) {
			paths, _ := filepath.Glob("/sys/class/block/*")
			for _, path := range paths {
				if f, err := os.Open("/dev/" + filepath.Base(path)); err == nil {
					f.Close()
					return nil, reached(path + " can be read")
				}
			}
			return nil, nil
		}},
	}
}

func copyState(t target) ([]byte, error) {
	to := filepath.Join(t.Scratch, "state-copy")
	defer os.RemoveAll(to)
	err := os.CopyFS(to, os.DirFS(t.State)) // as far as it gets
	raw, _ := readTree(to)
	return raw, err
}

// byName makes a name for the log-in and reads that.
func byName(name func(t target, name string) error) func(target) ([]byte, error) {
	return func(t target) ([]byte, error) {
		path := filepath.Join(t.Scratch, "name")
		defer os.Remove(path)
		if err := name(t, path); err != nil {
			return nil, err
		}
		return os.ReadFile(path)
	}
}

// keep keeps the log-in, where it can be reached, and returns what puts it back.
func keep(t target) (putBack func()) {
	kept := filepath.Join(t.Home, "kept")
	if os.Link(t.auth(), kept) != nil {
		return func() {}
	}
	return func() { _ = os.Rename(kept, t.auth()) }
}

// unless is a way that has worked if there was no error.
func unless(err error, what string) error {
	if err == nil {
		return reached(what)
	}
	return err
}

func openAt(dir int, name string) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return readAll(fd)
}

// handleRead opens every file of a directory by its handle, that of what lies below
// a cover too: name_to_handle_at does not say which it is.
func handleRead(t target) ([]byte, error) {
	handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, t.auth(), 0)
	if err != nil {
		return nil, err
	}
	dir, err := unix.Open(t.Home, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	fd, err := unix.OpenByHandleAt(dir, handle, unix.O_RDONLY)
	if err != nil {
		// Its inode's number is told by readdir, which does not see covers.
		entries := direntInodes(dir)
		handle, _, homeErr := unix.NameToHandleAt(dir, "", unix.AT_EMPTY_PATH)
		if homeErr != nil || len(handle.Bytes()) < 8 {
			return nil, errors.Join(err, homeErr)
		}
		raw := handle.Bytes()
		*(*uint32)(unsafe.Pointer(&raw[0])) = uint32(entries["auth.json"])
		guess := unix.NewFileHandle(handle.Type(), raw)
		if fd, err = unix.OpenByHandleAt(dir, guess, unix.O_RDONLY); err != nil {
			return nil, err
		}
	}
	return readAll(fd)
}

// direntInodes returns the numbers of a directory's entries as they are on disk.
func direntInodes(dir int) map[string]uint64 {
	found := make(map[string]uint64)
	b := make([]byte, 1<<16)
	n, err := unix.Getdents(dir, b)
	for b = b[:max(n, 0)]; err == nil && len(b) > 19; {
		d := (*unix.Dirent)(unsafe.Pointer(&b[0]))
		name, _, _ := strings.Cut(string(b[19:d.Reclen]), "\x00")
		found[name] = d.Ino
		b = b[d.Reclen:]
	}
	return found
}
