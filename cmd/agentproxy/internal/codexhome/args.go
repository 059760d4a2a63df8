package codexhome

import (
	"path/filepath"
	"slices"
	"strings"
)

// IsCodex reports whether a program is Codex, as far as its name tells.
func IsCodex(program string) bool {
	name := strings.TrimSuffix(filepath.Base(program), ".exe")
	return name == "codex" || strings.HasPrefix(name, "codex-") && !strings.Contains(name, "server")
}

// codexSettings are the settings that a Codex needs where [ManagedConfig] cannot be put
// in its way.
var codexSettings = []string{
	"-c", `cli_auth_credentials_store="file"`,
	"-c", "features.daemon_auto_start=false",
}

// Args returns the arguments of a Codex with the settings that it needs where
// [ManagedConfig] cannot be put in its way.
//
// Up to 0.150 the settings of a subcommand replace those before it, so they are
// put wherever args has some. What other programs are given, as by codex sandbox, is
// left as it is.
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

// takesPrompt are the subcommands of Codex whose arguments are its own throughout, and
// that need a log-in.
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

// takesValue are the options of Codex that take the argument behind them.
var takesValue = []string{
	"-c", "--config", "--enable", "--disable", "-p", "--profile", "-m", "--model", "-s", "--sandbox", "-a", "--ask-for-approval",
	"-C", "--cd", "-i", "--image", "--add-dir", "--local-provider", "--remote",
}

// ChangesLogin reports whether args, the arguments of a Codex, log in or out.
func ChangesLogin(args []string) bool {
	name, rest := codexCommand(args[1:])
	switch name {
	case "logout":
		return true
	case "login":
		sub, _ := codexCommand(rest)
		return sub != "status" && sub != "help" && !hasHelp(rest)
	}
	return false
}

func hasHelp(args []string) bool {
	for _, arg := range args {
		if arg == "-h" || arg == "--help" {
			return true
		}
	}
	return false
}
