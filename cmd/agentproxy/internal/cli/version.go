package cli

import "runtime/debug"

// version and commit are set by the linker (-ldflags -X): the release's tag, empty
// between releases, and the commit of the source.
var version, commit string

// Version returns the release's tag, or what the build knows of the source.
func Version() string {
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

// Commit returns the commit of the source, "" if the build did not say.
func Commit() string { return commit }
