//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestNginx has Debian's nginx run deploy/nginx/agentproxy.conf.
func TestNginx(t *testing.T) { behaves(t, usualLabel, startNginx) }

// TestCodexBehindGateway has Codex finish a turn through nginx: it is told another
// base URL and a certificate to trust, and holds a placeholder.
func TestCodexBehindGateway(t *testing.T) {
	t.Parallel()
	g := newGateway(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Reply: codexReply}})
	startNginx(t, g)
	base := "https://" + g.addr + "/backend-api"
	home, placeholder := codexHome(t, &proxy{fixture: g.fixture})
	out := mustRun(t, append(baseEnv(t), "CODEX_HOME="+home, "CODEX_CA_CERTIFICATE="+g.cert),
		npmProgram(t, codexVersions[len(codexVersions)-1].path), codexExec(append(slices.Clone(codexQuiet),
			"-c", "chatgpt_base_url="+base+"/",
			"-c", "model_provider=gateway",
			"-c", "model_providers.gateway.name=gateway",
			"-c", "model_providers.gateway.base_url="+base+"/codex",
			"-c", "model_providers.gateway.requires_openai_auth=true",
			"-c", "model_providers.gateway.supports_websockets=true",
		)...)...)
	if !strings.Contains(out, codexReply) {
		t.Errorf("codex said %q", out)
	}
	requests := g.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)
	checkNowhere(t, requests, placeholder)
	g.checkClean(t, requests)
}

func startNginx(t *testing.T, g *gateway) {
	t.Helper()
	token := filepath.Join(g.dir, "token.conf")
	writeFile(t, token, fmt.Appendf(nil, "proxy_set_header X-Agentproxy-Token %q;\n", g.token))
	site := filepath.Join(g.dir, "agentproxy.conf")
	writeFile(t, site, []byte(deployed(t, "nginx/agentproxy.conf",
		"127.0.0.1:9090", g.authz,
		"chatgpt.com:443", g.fixture.backend.Addr(),
		deployedAllowed, g.allowed,
		"127.0.0.1:8443", g.addr,
		"/etc/nginx/gateway.pem", g.cert,
		"/etc/nginx/gateway-key.pem", g.key,
		"/etc/nginx/agentproxy-token.conf", token,
		"/etc/ssl/certs/ca-certificates.crt", g.upstreamCA(),
	)))
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // who alone can enter the test's directory
	}
	config := filepath.Join(g.dir, "nginx.conf")
	writeFile(t, config, fmt.Appendf(nil, nginxConfig, g.dir, user, site))
	nginx := "/usr/sbin/nginx"
	if !isProgram(nginx) {
		t.Fatal("nginx is not installed; run make clients")
	}
	g.start(t, nginx, "-c", config, "-p", g.dir, "-e", "stderr")
}

// nginxConfig takes a directory, the user and the site.
const nginxConfig = `daemon off;
%[2]s
worker_processes 1;
pid %[1]s/nginx.pid;
error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	include %[3]s;
}
`
