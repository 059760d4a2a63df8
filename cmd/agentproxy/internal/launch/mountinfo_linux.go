package launch

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// mount is a line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
type mount struct {
	device string // major:minor
	root   string // the directory of the file system that is mounted
	point  string // where it is mounted
}

// mounts returns the mounts that this process sees, the oldest first.
func mounts() ([]mount, error) {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(raw)), nil
}

func parseMounts(info string) []mount {
	var all []mount
	for line := range strings.Lines(info) {
		fields := strings.Fields(line)
		if len(fields) < 6 {
			continue
		}
		all = append(all, mount{fields[2], unescapeMount(fields[3]), unescapeMount(fields[4])})
	}
	return all
}

// unescapeMount decodes the octal escapes of spaces, tabs, newlines and
// backslashes.
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// below returns path relative to dir, and whether it is dir or below it. Both must be clean.
func below(path, dir string) (rel string, ok bool) {
	if path == dir {
		return "", true
	}
	return strings.CutPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// aliases returns path, which has no links in it, and the other paths of that file by other
// mounts of its file system.
func aliases(path string, all []mount) []string {
	var own mount
	for _, m := range all {
		// Of mounts on one another, the last is seen.
		if _, ok := below(path, m.point); ok && len(m.point) >= len(own.point) {
			own = m
		}
	}
	rel, _ := below(path, own.point)
	inside := filepath.Join(own.root, rel)
	found := []string{path}
	for _, m := range all {
		if m.device != own.device || m.point == own.point {
			continue
		}
		if rel, ok := below(inside, m.root); ok {
			found = append(found, filepath.Join(m.point, rel))
		}
	}
	return found
}
