package codexhome

import (
	"strings"
	"testing"
)

func TestIsLoginCopy(t *testing.T) {
	for name, want := range map[string]bool{
		"auth.json": true, "Auth.JSON": true, ".auth-x1Y2z3": true, "auth.json.bak": true, "auth.json~": true, ".auth.json.swp": true, "old-auth.json": true, "#auth.json#": true, "old.oauth.json": false, "mcp-oauth.json": false, "oauth.json": false, "oauth.json-auth.json": true, "zooauth.json": true,
		"auth.lock": false, "auth.json.lock": false, "config.toml": false, ".credentials.json": false, "auth": false, "": false, "sessions": false,
	} {
		if got := IsLoginCopy(name); got != want {
			t.Errorf("IsLoginCopy(%q) = %t", name, got)
		}
	}
}

// FuzzIsLoginCopy checks that no name with auth.json in it is taken for harmless, but
// for that of a lock.
func FuzzIsLoginCopy(f *testing.F) {
	f.Add("old", ".bak")
	f.Fuzz(func(t *testing.T, before, after string) {
		lock := strings.HasSuffix(strings.ToLower("auth.json"+after), ".lock")
		if strings.HasSuffix(strings.ToLower(before), "o") {
			return // another word
		}
		if got := IsLoginCopy(before + "auth.json" + after); got == lock && !strings.HasPrefix(strings.ToLower(before), LoginDraft) {
			t.Errorf("IsLoginCopy(%q) = %t", before+"auth.json"+after, got)
		}
	})
}
