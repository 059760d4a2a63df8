// Package completion completes command lines: the programs that agentproxy run may start, and
// their own arguments, which it leaves to what the shell knows of them.
package completion

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Programs returns the names of the programs on path, in the form of PATH, that begin with
// prefix. A prefix with a directory in it is for the shell to complete.
func Programs(path, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if strings.ContainsAny(prefix, `/\`) {
		return nil, cobra.ShellCompDirectiveDefault
	}
	var names []string
	for _, dir := range filepath.SplitList(path) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			if !strings.HasPrefix(entry.Name(), prefix) {
				continue
			}
			if name := programName(dir, entry.Name()); name != "" {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}

// programName returns the name by which a file is started, "" if it is no program.
func programName(dir, file string) string {
	if runtime.GOOS == "windows" {
		ext := strings.ToLower(filepath.Ext(file))
		if ext != ".exe" && ext != ".cmd" && ext != ".bat" && ext != ".com" {
			return ""
		}
		return file[:len(file)-len(ext)]
	}
	info, err := os.Stat(filepath.Join(dir, file))
	if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return ""
	}
	return file
}
