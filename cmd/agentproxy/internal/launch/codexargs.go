package launch

import (
	"path/filepath"
	"strings"
)

// IsCodex reports whether a program is Codex, as far as its name tells.
func IsCodex(program string) bool {
	name := strings.TrimSuffix(filepath.Base(program), ".exe")
	return name == "codex" || strings.HasPrefix(name, "codex-") && !strings.Contains(name, "server")
}

// CodexArgs returns the arguments of a Codex with the settings that it needs where
// [ManagedConfig] cannot be put in its way.
func CodexArgs(args []string) []string {
	return append([]string{args[0],
		"-c", `cli_auth_credentials_store="file"`,
		"-c", "features.daemon_auto_start=false",
	}, args[1:]...)
}

// ChangesLogin reports whether args, the arguments of a Codex, log in or out.
func ChangesLogin(args []string) bool {
	command := func(rest []string) (string, []string) {
		for len(rest) > 0 {
			switch arg := rest[0]; {
			case arg == "-c" || arg == "--config" || arg == "--enable" || arg == "--disable" || arg == "-p" || arg == "--profile":
				rest = rest[min(2, len(rest)):]
			case strings.HasPrefix(arg, "-"):
				rest = rest[1:]
			default:
				return arg, rest[1:]
			}
		}
		return "", nil
	}
	name, rest := command(args[1:])
	switch name {
	case "logout":
		return true
	case "login":
		sub, _ := command(rest)
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
