package codexhome

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/agentproxy/agentproxy/internal/safefile"
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
		if safefile.Same(cmp.Or(vars["CODEX_HOME"], filepath.Join(vars["HOME"], ".codex")), codexHome) {
			found = append(found, Server{pid, cmp.Or(vars["HTTPS_PROXY"], vars["https_proxy"], vars["ALL_PROXY"], vars["all_proxy"])})
		}
	}
	return found
}
