//go:build linux

package integration

import (
	"cmp"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// sandbox lays around a program what a container engine would. It takes root.
type sandbox struct {
	network string   // a namespace of ip-netns(8); "" is the test's own
	mounts  []string // shell commands that lay out what only the program sees
	root    string   // "" is the machine's
	uid     int      // its user
	gid     int      // its group; 0 is the one that is called like the user
	groups  []int    // further ones
}

// readOnly is a mount that lets nobody write at path, root neither.
func readOnly(path string) string {
	return "mount --bind " + quote(path) + " " + quote(path) + "\nmount -o remount,bind,ro " + quote(path)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// argv is the command that runs a program within the sandbox, in one process.
func (s sandbox) argv(t *testing.T, program string, args ...string) []string {
	t.Helper()
	user, group := strconv.Itoa(s.uid), strconv.Itoa(cmp.Or(s.gid, s.uid))
	groups := group
	for _, further := range s.groups {
		groups += "," + strconv.Itoa(further)
	}
	script := strings.Join(append([]string{"set -e"}, s.mounts...), "\n")
	if s.root == "" {
		script += "\nexec setpriv --reuid=" + user + " --regid=" + group + ` --clear-groups --no-new-privs -- "$@"`
	} else {
		script += "\nexec /usr/sbin/chroot --userspec=" + user + ":" + group + " --groups=" + groups + " " + quote(s.root) + ` "$@"`
	}
	argv := []string{systemProgram(t, "unshare"), "--mount", "--", "sh", "-c", script, "sh", program}
	if s.network != "" {
		argv = append([]string{systemProgram(t, "nsenter"), "--net=" + filepath.Join("/run/netns", s.network), "--"}, argv...)
	}
	return append(argv, args...)
}

// run runs a program within the sandbox to its end.
func (s sandbox) run(t *testing.T, environ []string, program string, args ...string) result {
	t.Helper()
	argv := s.argv(t, program, args...)
	return run(t, environ, argv[0], argv[1:]...)
}
