package connect

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The suite's own config: all that it knows and a proxy for https can be asked.
// Client certificates end at whoever terminates TLS, and HTTP/3 knows no CONNECT
// proxies.
const suiteConfig = `features:
  versions: [HTTP_VERSION_1, HTTP_VERSION_2]
  protocols: [PROTOCOL_CONNECT, PROTOCOL_GRPC, PROTOCOL_GRPC_WEB]
  codecs: [CODEC_PROTO, CODEC_JSON]
  compressions:
    - COMPRESSION_IDENTITY
    - COMPRESSION_GZIP
    - COMPRESSION_BR
    - COMPRESSION_ZSTD
    - COMPRESSION_DEFLATE
    - COMPRESSION_SNAPPY
  supports_h2c: false
  supports_tls: true
  supports_tls_client_certs: false
  supports_half_duplex_bidi_over_http1: true
exclude_cases:
  - use_tls: false
`

var passed = regexp.MustCompile(`(?m)^(\d+) passed, (\d+) failed$`)

// TestConnect runs the suite of connectrpc.com/conformance. Where a server is
// under test, that is its reference server behind agentproxy; where a client is,
// its reference client in front of it. What is on the other side is the suite's,
// and looks at what arrives there.
func TestConnect(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(config, []byte(suiteConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for under, cases := range map[string]int{"server": 5258, "client": 6267} {
		t.Run(under, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, filepath.Join(programs, "connectconformance"), "--conf", config, "--mode", under, "--", self)
			cmd.Env = append(os.Environ(), role+"="+under,
				agentproxyVar+"="+filepath.Join(programs, "agentproxy"), programVar+"="+filepath.Join(programs, "reference"+under))
			out, err := cmd.CombinedOutput()
			text := strings.TrimSpace(string(out))
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			m := passed.FindStringSubmatch(text)
			if m == nil {
				t.Fatalf("the suite does not say what passed:\n%s", text)
			}
			if n, _ := strconv.Atoi(m[1]); n < cases || m[2] != "0" {
				t.Errorf("%s, want %d at least\n%s", m[0], cases, text)
			}
			t.Log(m[0])
		})
	}
}
