package codexhome

import (
	"path/filepath"
	"slices"
	"strings"
)

// IsCodex reports whether a program is Codex, by its name.
func IsCodex(program string) bool {
	name := strings.TrimSuffix(filepath.Base(program), ".exe")
	return name == "codex" || strings.HasPrefix(name, "codex-") && !strings.Contains(name, "server")
}

// codexSettings are the settings of [ManagedConfig] as arguments.
var codexSettings = []string{
	"-c", `cli_auth_credentials_store="file"`,
	"-c", "features.daemon_auto_start=false",
}

// Args returns the arguments of a Codex with the settings of [ManagedConfig], for a Codex
// that does not see that file.
//
// Up to 0.150 the settings of a subcommand replace those before it, so they are added
// wherever args has some. Arguments of other programs, as those of codex sandbox, stay.
func Args(args []string) []string {
	all := append([]string{args[0]}, codexSettings...)
	name, rest := codexCommand(args[1:])
	all = append(all, args[1:len(args)-len(rest)]...)
	if !slices.Contains(takesPrompt, name) {
		return append(all, rest...)
	}
	for len(rest) > 0 && rest[0] != "--" {
		n := 1
		switch arg := rest[0]; {
		case arg == "-c" || arg == "--config":
			n = min(2, len(rest))
			all = append(all, codexSettings...)
		case strings.HasPrefix(arg, "--config=") || strings.HasPrefix(arg, "-c"):
			all = append(all, codexSettings...)
		}
		all, rest = append(all, rest[:n]...), rest[n:]
	}
	return append(all, rest...)
}

// takesPrompt are the subcommands of Codex that need a log-in and pass no arguments to
// other programs.
var takesPrompt = []string{"exec", "e", "review", "resume", "fork", "cloud", "mcp-server", "app-server", "login"}

// codexCommand returns the subcommand in args, "" if there is none, and what
// follows it.
func codexCommand(args []string) (name string, rest []string) {
	for rest = args; len(rest) > 0; {
		switch arg := rest[0]; {
		case slices.Contains(takesValue, arg):
			rest = rest[min(2, len(rest)):]
		case strings.HasPrefix(arg, "-"):
			rest = rest[1:]
		default:
			return arg, rest[1:]
		}
	}
	return "", nil
}

// takesValue are the options of Codex whose value is the next argument.
var takesValue = []string{
	"-c", "--config", "--enable", "--disable", "-p", "--profile", "-m", "--model", "-s", "--sandbox", "-a", "--ask-for-approval",
	"-C", "--cd", "-i", "--image", "--add-dir", "--local-provider", "--remote",
}

// ChangesLogin reports whether a Codex with arguments args logs in or out.
func ChangesLogin(args []string) bool {
	name, rest := codexCommand(args[1:])
	switch name {
	case "logout":
		return true
	case "login":
		sub, _ := codexCommand(rest)
		return sub != "status" && sub != "help" && !slices.Contains(rest, "-h") && !slices.Contains(rest, "--help")
	}
	return false
}
