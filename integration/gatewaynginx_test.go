//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestNginx has Debian's nginx run deploy/nginx/agentproxy.conf.
func TestNginx(t *testing.T) {
	behaves(t, func(t *testing.T, g *gateway) {
		token := filepath.Join(g.dir, "token.conf")
		writeFile(t, token, fmt.Appendf(nil, "proxy_set_header X-Agentproxy-Token %q;\n", g.token))
		site := filepath.Join(g.dir, "agentproxy.conf")
		writeFile(t, site, []byte(deployed(t, "nginx/agentproxy.conf",
			"127.0.0.1:9090", g.authz,
			"chatgpt.com:443", g.fixture.backend.Addr(),
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
	})
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
