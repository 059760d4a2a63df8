package launch

import "strings"

// loginDraft begins the names of the files that Codex writes a log-in to before it
// puts them in the place of auth.json.
const loginDraft = ".auth-"

// IsLoginCopy reports whether a file of that name in a Codex home may hold a log-in:
// auth.json, what Codex writes it by, or a copy. The files that Codex locks hold
// nothing.
func IsLoginCopy(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, loginDraft) || strings.Contains(name, "auth.json") && !strings.HasSuffix(name, ".lock")
}
