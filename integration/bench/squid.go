//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// squidCertgen is the helper that makes certificates, where Debian has it.
const squidCertgen = "/usr/lib/squid/security_file_certgen"

// startSquid starts squid, which intercepts everything (ssl-bump) with one
// process, as it does by default, and caches nothing.
func startSquid(ctx context.Context, b *bench, dir string) (*instance, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	// Started by root, squid goes on as the user proxy.
	if err := os.Chmod(dir, 0o777); err != nil {
		return nil, err
	}
	config, hosts, store := filepath.Join(dir, "squid.conf"), filepath.Join(dir, "hosts"), filepath.Join(dir, "certificates")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost\n"), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, squidConfig, dir, address,
		b.ca.certFile, b.ca.keyFile, squidCertgen, store, hosts, rivalToken), 0o644); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, squidCertgen, "-c", "-s", store, "-M", "16MB").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", squidCertgen, err, out)
	}
	if err := makeWritable(store); err != nil {
		return nil, err
	}
	e := endpoint{
		program: squid, address: address, roots: roots(b.ca.certPEM),
		connect: net.JoinHostPort("localhost", b.upstream.port), host: "localhost",
	}
	return launch(ctx, dir, e, cleanEnviron(dir), "squid", "-N", "-f", config)
}

// makeWritable lets every user write to a directory and the files in it.
func makeWritable(dir string) error {
	return filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, info.Mode().Perm()|0o777)
	})
}

// squidConfig takes the directory, the address, the CA, its key, the helper and
// its store, the hosts file and the token.
const squidConfig = `
http_port %[2]s ssl-bump tls-cert=%[3]s tls-key=%[4]s generate-host-certificates=on dynamic_cert_mem_cache_size=16MB
sslcrtd_program %[5]s -s %[6]s -M 16MB
ssl_bump bump all
tls_outgoing_options cafile=%[3]s
hosts_file %[7]s
http_access allow all
cache deny all
request_header_access Authorization deny all
request_header_add Authorization "Bearer %[8]s" all
via off
forwarded_for delete
access_log none
cache_store_log none
cache_log %[1]s/cache.log
pid_filename %[1]s/squid.pid
coredump_dir %[1]s
max_filedescriptors 20000
shutdown_lifetime 0 seconds
pinger_enable off
visible_hostname bench
`
