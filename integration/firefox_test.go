//go:build linux && (websockets || verifiers)

package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// firefoxPreferences take a proxy's host and port. Firefox asks nobody for anything else.
const firefoxPreferences = `
user_pref("network.proxy.type", 1);
user_pref("network.proxy.ssl", %q);
user_pref("network.proxy.ssl_port", %s);
user_pref("network.proxy.http", %[1]q);
user_pref("network.proxy.http_port", %[2]s);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("app.update.enabled", false);
user_pref("app.normandy.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,");
user_pref("browser.safebrowsing.provider.google4.updateURL", "");
user_pref("extensions.update.enabled", false);
user_pref("security.OCSP.enabled", 0);
`

// newFirefoxProfile makes a profile where agentproxy ca install finds it, whose Firefox uses
// a proxy, and returns its directory.
func newFirefoxProfile(t *testing.T, home, proxy string) string {
	t.Helper()
	profile := filepath.Join(home, ".mozilla", "firefox", "test.default")
	if err := os.MkdirAll(profile, 0o700); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(proxy)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(profile, "user.js"), fmt.Appendf(nil, firefoxPreferences, host, port))
	mustRun(t, baseEnv(t), systemProgram(t, "certutil"), "-N", "--empty-password", "-d", "sql:"+profile)
	return profile
}

// firefox prepares Firefox with a profile.
func firefox(t *testing.T, home, profile, url string) *exec.Cmd {
	t.Helper()
	return command(t, append(baseEnv(t), "HOME="+home), systemProgram(t, "firefox-esr"), "--headless", "--no-remote", "--profile", profile, url)
}
