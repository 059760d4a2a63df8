//go:build linux && (websockets || verifiers)

package integration

import (
	"fmt"
	"net"
	"os"
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

// firefoxProfile makes a profile below home whose Firefox uses a proxy, and trusts the CA.
func firefoxProfile(t *testing.T, home, ca, proxy string) {
	t.Helper()
	profile := filepath.Join(home, "profile")
	if err := os.Mkdir(profile, 0o700); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(proxy)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(profile, "user.js"), fmt.Appendf(nil, firefoxPreferences, host, port))
	mustRun(t, baseEnv(t), systemProgram(t, "certutil"), "-N", "--empty-password", "-d", "sql:"+profile)
	mustRun(t, baseEnv(t), systemProgram(t, "certutil"), "-A", "-d", "sql:"+profile, "-n", "agentproxy", "-t", "C,,", "-i", ca)
}
