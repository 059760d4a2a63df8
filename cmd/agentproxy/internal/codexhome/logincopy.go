package codexhome

import (
	"regexp"
	"strings"
)

// LoginDraft begins the names of the files that Codex writes a log-in to before it
// puts them in the place of auth.json.
const LoginDraft = ".auth-"

// oauth is the word in the name of a file.
var oauth = regexp.MustCompile(`(^|[^a-z])oauth\.json`)

// IsLoginCopy reports whether a file of that name in a Codex home may hold a log-in:
// auth.json, what Codex writes it by, or a copy. The files that Codex locks hold
// nothing.
func IsLoginCopy(name string) bool {
	name = strings.ToLower(name)
	if strings.HasPrefix(name, LoginDraft) {
		return true
	}
	// Credentials of another kind, such as mcp-oauth.json, are no copies.
	return strings.Contains(oauth.ReplaceAllString(name, ""), "auth.json") && !strings.HasSuffix(name, ".lock")
}
