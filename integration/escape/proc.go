//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

func itoa(n int) string { return strconv.Itoa(n) }

func procFD(fd int) string { return "/proc/self/fd/" + itoa(fd) }

// strangers are the processes that are neither this one nor its children, nor the
// program that has started it: what is outside, or began it all.
func strangers() (pids []int) {
	parent := os.Getppid()
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(path))
		if err == nil && pid != os.Getpid() && pid != parent {
			pids = append(pids, pid)
		}
	}
	return pids
}

// ofStrangers reads the file at a path below the directory of each stranger in /proc.
func ofStrangers(path func(t target) string) func(target) ([]byte, error) {
	return func(t target) ([]byte, error) {
		var all []byte
		var last error
		for _, pid := range append(strangers(), os.Getpid()) {
			raw, err := os.ReadFile(filepath.Join("/proc", itoa(pid)) + path(t))
			all, last = append(all, raw...), err
		}
		return all, last
	}
}

// procWays ask the kernel about processes.
func procWays() []way {
	return []way{
		{"/proc/PID/root", true, 0, ofStrangers(func(t target) string { return "/root" + t.auth() })},
		{"/proc/self/cwd", true, 0, func(t target) ([]byte, error) {
			if err := os.Chdir(t.Home); err != nil {
				return nil, err
			}
			return os.ReadFile("/proc/self/cwd/auth.json")
		}},
		{"/proc/thread-self/root", true, 0, func(t target) ([]byte, error) { return os.ReadFile("/proc/thread-self/root" + t.auth()) }},
		{"/proc/PID/cwd", false, 0, ofStrangers(func(target) string { return "/cwd/auth.json" })},
		{"/proc/PID/environ", false, 0, ofStrangers(func(target) string { return "/environ" })},
		{"/proc/PID/cmdline", false, 0, ofStrangers(func(target) string { return "/cmdline" })},
		{"/proc/PID/fd", false, 0, func(target) ([]byte, error) {
			var all []byte
			for _, pid := range strangers() {
				paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
				for _, path := range paths {
					if info, err := os.Stat(path); err == nil && (info.Mode().IsRegular() || info.IsDir()) {
						raw, _ := os.ReadFile(path)
						more, _ := readHome(path)
						all = append(append(all, raw...), more...)
					}
				}
			}
			return all, nil
		}},
		{"/proc/PID/mem", false, 0, func(target) ([]byte, error) {
			for _, pid := range strangers() {
				f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
				if err == nil {
					f.Close()
					return nil, reached(fmt.Sprintf("the memory of process %d", pid))
				}
			}
			return nil, nil
		}},
		{"/proc/PID/maps", false, 0, func(target) ([]byte, error) {
			for _, pid := range strangers() {
				if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid)); err == nil && len(raw) > 0 {
					return raw, reached(fmt.Sprintf("the map of process %d", pid))
				}
			}
			return nil, nil
		}},
		{"process_vm_readv", false, 0, func(target) ([]byte, error) {
			for _, pid := range strangers() {
				b := make([]byte, 16)
				local := []unix.Iovec{{Base: &b[0], Len: 16}}
				remote := []unix.RemoteIovec{{Base: 0x400000, Len: 16}}
				if _, err := unix.ProcessVMReadv(pid, local, remote, 0); err == nil || err == unix.EFAULT {
					return nil, reached(fmt.Sprintf("the memory of process %d", pid))
				}
			}
			return nil, nil
		}},
		{"ptrace", false, 0, func(target) ([]byte, error) {
			runtime.LockOSThread()
			for _, pid := range strangers() {
				for _, request := range []uintptr{unix.PTRACE_SEIZE, unix.PTRACE_ATTACH} {
					if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, request, uintptr(pid), 0, 0, 0, 0); errno == 0 {
						return nil, reached(fmt.Sprintf("process %d can be traced", pid))
					}
				}
			}
			return nil, nil
		}},
		{"pidfd_getfd", false, 0, func(target) ([]byte, error) {
			for _, pid := range strangers() {
				p, err := unix.PidfdOpen(pid, 0)
				if err != nil {
					continue
				}
				for fd := range 16 {
					if _, err := unix.PidfdGetfd(p, fd, 0); err == nil {
						return nil, reached(fmt.Sprintf("descriptor %d of process %d", fd, pid))
					}
				}
			}
			return nil, nil
		}},
		{"setns", false, 0, intoNamespaces},
		{"setns as root of a namespace", false, unix.CLONE_NEWUSER, intoNamespaces},
		{"setns by a pidfd", false, unix.CLONE_NEWUSER | unix.CLONE_NEWNS, func(t target) ([]byte, error) {
			for _, pid := range strangers() {
				p, err := unix.PidfdOpen(pid, 0)
				if err != nil {
					continue
				}
				if err := unix.Setns(p, unix.CLONE_NEWNS); err == nil {
					raw, _ := os.ReadFile(t.auth())
					return raw, reached(fmt.Sprintf("the mounts of process %d", pid))
				}
			}
			return nil, nil
		}},
		{"a core dump", false, 0, func(target) ([]byte, error) {
			for _, pid := range strangers() {
				// What it would be cut to is whatever it may write itself.
				var limit unix.Rlimit
				if unix.Prlimit(pid, unix.RLIMIT_CORE, nil, &limit) == nil {
					_ = unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{Cur: limit.Max, Max: limit.Max}, nil)
				}
			}
			cores, _ := filepath.Glob("core*")
			var all []byte
			for _, core := range cores {
				raw, _ := os.ReadFile(core)
				all = append(all, raw...)
			}
			return all, nil
		}},
		{"kernel keyrings", true, 0, keyrings},
		{"more privileges", false, 0, func(target) ([]byte, error) {
			set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
			if err == nil && set == 0 {
				return nil, reached("set-user-ID programs work")
			}
			return nil, err
		}},
	}
}

// intoNamespaces enters the namespaces of other processes.
func intoNamespaces(t target) ([]byte, error) {
	runtime.LockOSThread()
	for _, pid := range strangers() {
		for _, kind := range []string{"user", "mnt", "pid", "net"} {
			fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind), unix.O_RDONLY, 0)
			if err != nil {
				continue
			}
			if err := unix.Setns(fd, 0); err == nil && kind != "net" {
				raw, _ := os.ReadFile(t.auth())
				return raw, reached(fmt.Sprintf("the %s namespace of process %d", kind, pid))
			}
			unix.Close(fd)
		}
	}
	return nil, nil
}

// keyrings reads every key that may be read, in this process's keyrings or not.
func keyrings(target) ([]byte, error) {
	list, err := os.ReadFile("/proc/keys")
	if err != nil {
		return nil, err
	}
	var all []byte
	var last error
	for len(list) > 8 {
		if id, err := strconv.ParseInt(string(list[:8]), 16, 64); err == nil {
			b := make([]byte, 4096)
			n, _, errno := unix.Syscall6(unix.SYS_KEYCTL, unix.KEYCTL_READ, uintptr(id), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0)
			if errno == 0 {
				all = append(all, b[:min(int(n), len(b))]...)
			} else {
				last = errno
			}
		}
		next := 0
		for next < len(list) && list[next] != '\n' {
			next++
		}
		list = list[min(next+1, len(list)):]
	}
	return all, last
}

// addKey puts a key into the user's keyring that the user may read by its number.
func addKey(content string) error {
	id, err := unix.AddKey("user", "agentproxy-escape", []byte(content), unix.KEY_SPEC_USER_KEYRING)
	if err != nil {
		return err
	}
	const ownerMay, userMay = 0x3f000000, 0x003f0000 // keyctl_setperm(3)
	return unix.KeyctlSetperm(id, ownerMay|userMay)
}
