package codexhome

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Servers returns the background servers of the Codex home at codexHome that this user may
// see.
func Servers(codexHome string) []Server {
	var found []Server
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		dir := filepath.Join("/proc", entry.Name())
		info, err := os.Stat(dir)
		if err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
			continue
		}
		raw, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		args := strings.Split(string(raw), "\x00")
		if !slices.Contains(args, "app-server") || !slices.Contains(args, "--managed-daemon") {
			continue
		}
		environ, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil {
			continue // of another namespace, where it is somebody else's
		}
		vars := make(map[string]string)
		for entry := range strings.SplitSeq(string(environ), "\x00") {
			name, value, _ := strings.Cut(entry, "=")
			vars[name] = value
		}
		home := vars["CODEX_HOME"]
		if home == "" {
			home = filepath.Join(vars["HOME"], ".codex")
		}
		if sameDir(home, codexHome) {
			found = append(found, Server{pid, firstOf(vars, "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")})
		}
	}
	return found
}

func firstOf(vars map[string]string, names ...string) string {
	for _, name := range names {
		if vars[name] != "" {
			return vars[name]
		}
	}
	return ""
}

func sameDir(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}
