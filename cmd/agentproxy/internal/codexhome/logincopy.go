package codexhome

import (
	"regexp"
	"strings"
)

// LoginDraft begins the names of files with a log-in that Codex renames to auth.json.
const LoginDraft = ".auth-"

// oauth matches oauth.json as a word in the name of a file.
var oauth = regexp.MustCompile(`(^|[^a-z])oauth\.json`)

// IsLoginCopy reports whether a file of that name in a Codex home may hold a log-in:
// auth.json, a draft of it, or a copy. Codex's lock files hold nothing.
func IsLoginCopy(name string) bool {
	name = strings.ToLower(name)
	if strings.HasPrefix(name, LoginDraft) {
		return true
	}
	// mcp-oauth.json and the like hold credentials of another kind.
	return strings.Contains(oauth.ReplaceAllString(name, ""), "auth.json") && !strings.HasSuffix(name, ".lock")
}
