package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// What make build sets (-ldflags -X main.version=…): the release, if it is one,
// and the commit of the source.
var version, commit string

func newVersionCommand(c *command) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			fmt.Fprintf(c.stdout, "agentproxy %s%s %s %s/%s\n", versionName(), releaseCommit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}

// versionName is the release, or what the build says of the source.
func versionName() string {
	if version != "" {
		return version
	}
	if commit != "" {
		return "devel-" + commit
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	name := info.Main.Version
	if name == "" || name == "(devel)" {
		name = "devel"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				name += "-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return name
}

// releaseCommit is the commit of a release, whose name does not say it.
func releaseCommit() string {
	if version == "" || commit == "" {
		return ""
	}
	return " (" + commit + ")"
}
