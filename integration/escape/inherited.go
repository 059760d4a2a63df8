//go:build linux

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// maxInherited is the number above all descriptors that are looked at.
const maxInherited = 24

// inheritedWays use what the process was started with.
func inheritedWays() []way {
	return []way{
		{"inherited directories", true, 0, func(t target) ([]byte, error) {
			var all []byte
			var last error
			for fd := range maxInherited {
				for _, name := range []string{"auth.json", "identity.json", "../" + t.Home + "/auth.json", ".." + upToRoot + t.auth()} {
					raw, err := openAt(fd, name)
					all, last = append(all, raw...), err
				}
			}
			return all, last
		}},
		{"inherited files", true, 0, func(target) ([]byte, error) {
			var all []byte
			var last error
			for fd := range maxInherited {
				var stat unix.Stat_t
				if unix.Fstat(fd, &stat) != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG {
					continue
				}
				raw, err := readAll(fd)
				all, last = append(all, raw...), err
				again, _ := os.ReadFile(procFD(fd))
				all = append(all, again...)
			}
			return all, last
		}},
		{"inherited namespaces", false, own, func(t target) ([]byte, error) {
			for fd := 3; fd < maxInherited; fd++ {
				if unix.Setns(fd, unix.CLONE_NEWNS) == nil {
					return nil, reached("the mounts outside")
				}
			}
			return nil, nil
		}},
		{"the working directory", true, 0, func(t target) ([]byte, error) {
			var all []byte
			var last error
			for _, name := range []string{"auth.json", "identity.json", "../auth.json", "." + upToRoot + t.auth()} {
				raw, err := os.ReadFile(name)
				all, last = append(all, raw...), err
			}
			return all, last
		}},
	}
}

// upToRoot leads from any directory to the root.
const upToRoot = "/../../../../../../../../../../../.."
