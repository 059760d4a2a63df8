//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// startNginx starts nginx as a reverse proxy that does the least that the work
// takes: TLS in, a header set, TLS out, connections kept on both sides. It
// cannot do what a forward proxy does, and clients reach it without CONNECT.
func startNginx(ctx context.Context, b *bench, dir string) (*instance, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, address, b.upstream.address,
		b.ca.serverFile, b.ca.serverKeyFile, b.ca.certFile, rivalToken), 0o644); err != nil {
		return nil, err
	}
	e := endpoint{program: nginx, address: address, host: chatgptHost, roots: roots(b.ca.certPEM)}
	return launch(ctx, dir, e, cleanEnviron(dir), "nginx", "-c", config, "-p", dir, "-e", "stderr")
}

// nginxConfig takes the directory, the address, the server's address, the
// certificate, its key, the CA and the token. Answers are not buffered on disk,
// and no number of requests closes a connection.
const nginxConfig = `
daemon off;
worker_processes auto;
worker_rlimit_nofile 60000;
pid %[1]s/nginx.pid;
error_log stderr error;
events { worker_connections 30000; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	tcp_nodelay on;
	keepalive_timeout 600s;
	keepalive_requests 1000000000;
	client_max_body_size 0;

	upstream backend {
		server %[3]s;
		keepalive 512;
		keepalive_requests 1000000000;
		keepalive_timeout 600s;
	}
	server {
		listen %[2]s ssl http2 backlog=4096;
		server_name chatgpt.com;
		ssl_certificate %[4]s;
		ssl_certificate_key %[5]s;
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_session_cache shared:tls:10m;
		ssl_session_tickets on;

		proxy_http_version 1.1;
		proxy_ssl_protocols TLSv1.2 TLSv1.3;
		proxy_ssl_verify on;
		proxy_ssl_trusted_certificate %[6]s;
		proxy_ssl_server_name on;
		proxy_ssl_name chatgpt.com;
		proxy_ssl_session_reuse on;
		proxy_set_header Host chatgpt.com;
		proxy_set_header Connection "";
		proxy_set_header Authorization "Bearer %[7]s";
		proxy_max_temp_file_size 0;
		proxy_request_buffering off;
		proxy_read_timeout 600s;

		location / { proxy_pass https://backend; }
		location /backend-api/codex/bench/events {
			proxy_buffering off;
			proxy_pass https://backend;
		}
		location /backend-api/codex/responses {
			proxy_set_header Host chatgpt.com;
			proxy_set_header Authorization "Bearer %[7]s";
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection "upgrade";
			proxy_pass https://backend;
		}
	}
}
`
