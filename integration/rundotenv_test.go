//go:build linux

package integration

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestRunDotenv has a .env in the Codex home name another proxy and other CAs, in every
// way that Codex reads. It leads no request past the proxy, and all else in it counts.
func TestRunDotenv(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"plain":      "HTTPS_PROXY=%[1]s\nhttps_proxy=%[1]s\nALL_PROXY=%[1]s\nNO_PROXY=*\nSSL_CERT_FILE=/nowhere\n",
		"export":     "export HTTPS_PROXY='%[1]s'\n export\tNO_PROXY = \"chatgpt.com\"\n",
		"multi-line": "HTTPS_PROXY=\"%[1]s\"\nSSL_CERT_FILE=\"/nowhere\n/at/all\"\nCODEX_CA_CERTIFICATE='/nowhere\n'\n",
		"spaces":     "\u00a0HTTPS_PROXY\u00a0=%[1]s\n\u2003export\u00a0NO_PROXY=*\n",
		"quotes":     "A='\\'\n'\nHTTPS_PROXY=%[1]s\nit's nothing\nB='\nALL_PROXY=%[1]s\n",
		"mark":       "\ufeffHTTPS_PROXY=%[1]s\n",
	} {
		for _, mode := range []string{"always", "off"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				u := newRunUser(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Reply: codexReply}}, runHome{})
				other, asked := countingListener(t)
				path := filepath.Join(u.f.codexHome, ".env")
				content := fmt.Sprintf(file, "http://"+other) + "MARK=passed\n"
				writeFile(t, path, []byte(content))
				giveTo(t, path, u.uid)
				codex := u.codex(t, tuiVersions[1].path)
				r := u.run(t, mode, append(append([]string{codex, "exec", "--skip-git-repo-check"}, codexQuiet...), "say hi")...)
				if r.code != 0 || !strings.Contains(r.stdout, codexReply) {
					t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
				}
				if turns := u.turns(t); len(turns) != 1 {
					t.Errorf("%d turns", len(turns))
				}
				if n := asked.Load(); n > 0 {
					t.Errorf("the other proxy was asked %d times", n)
				}
				if got := readFile(t, path); got != content {
					t.Errorf("the file became %q", got)
				}
				if got := u.mustRun(t, mode, "sh", "-c", `cat "$CODEX_HOME/.env"`); !strings.Contains(got, "MARK=passed") {
					t.Errorf("Codex reads %q", got)
				}
			})
		}
	}
}

// countingListener takes connections, and ends them.
func countingListener(t *testing.T) (address string, taken *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			taken.Add(1)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), taken
}
