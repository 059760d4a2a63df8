//go:build linux && garden

package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var gardeners = append(usualGardeners,
	gardener{name: "HAProxy", forward: true, config: []string{"haproxy.cfg"}, command: []string{"haproxy", "-f", "@DIR@/haproxy.cfg", "-db"}},
	gardener{name: "Varnish", forward: true, config: []string{"varnish.vcl"}, command: []string{"varnishd", "-F", "-a", "127.0.0.1:@PORT@", "-f", "@DIR@/varnish.vcl", "-n", "@DIR@/varnish", "-s", "malloc,10m", "-j", "none"}},
	gardener{name: "H2O", forward: true, config: []string{"h2o.yaml"}, command: []string{"h2o", "-c", "@DIR@/h2o.yaml"}, normal: func(target string) string {
		if target == "*" {
			return "/"
		}
		return target
	}},
	gardener{name: "Traffic Server", forward: true, config: []string{"runroot.yaml", "records.config", "remap.config", "ip_allow.yaml", "storage.config"}, command: []string{"traffic_server"}, env: []string{"TS_RUNROOT=@DIR@/runroot.yaml"}, normal: func(target string) string {
		target, _, _ = strings.Cut(target, "#")
		return oneSlash(strings.TrimSuffix(target, "?"))
	}},
	gardener{name: "Squid", forward: true, config: []string{"squid.conf"}, command: []string{"squid", "-N", "-n", "garden@PORT@", "-f", "@DIR@/squid.conf"}},
	gardener{name: "Apache", forward: true, config: []string{"apache.conf"}, command: []string{"apache2", "-X", "-f", "@DIR@/apache.conf"}, normal: oneSlash},
	gardener{name: "lighttpd", forward: true, config: []string{"lighttpd.conf"}, command: []string{"lighttpd", "-D", "-f", "@DIR@/lighttpd.conf"}, normal: func(target string) string {
		target, _, _ = strings.Cut(target, "#")
		return target
	}},
	gardener{name: "Gunicorn", config: []string{"wsgi.py"}, command: []string{"gunicorn", "-b", "127.0.0.1:@PORT@", "-w", "2", "wsgi:app"}},
	gardener{name: "Waitress", config: []string{"wsgi.py"}, command: []string{"python3", "@DIR@/wsgi.py", "@PORT@"}, lost: "Content-Length: 0\r\nAuthorization: Bearer garden-token\r\nExpect: 100-continue"},
	gardener{name: "aiohttp", config: []string{"aio.py"}, command: []string{"python3", "@DIR@/aio.py", "@PORT@"}},
	gardener{name: "Tornado", config: []string{"tornado_server.py"}, command: []string{"python3", "@DIR@/tornado_server.py", "@PORT@"}},
	gardener{name: "JDK", config: []string{"Jdk.java"}, command: []string{"java", "@DIR@/Jdk.java", "@PORT@"}},
)

// gardenInputs has package proxy write the seeds of its fuzz targets.
func gardenInputs(t *testing.T) []string {
	inputs := fuzzCorpus(t, "FuzzTunnelBytes")
	dir := t.TempDir()
	env := append(os.Environ(), "AGENTPROXY_GARDEN="+dir)
	command := command(t, env, "go", "test", "-tags", "garden", "-count=1", "-run", "^TestGardenSeeds$", "./...")
	command.Dir = filepath.Join("..")
	if r := runCommand(t, command); r.code != 0 {
		t.Fatalf("%s%s", r.stdout, r.stderr)
	}
	seeds, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(seeds) == 0 {
		t.Fatalf("no seeds, %v", err)
	}
	for _, seed := range seeds {
		inputs = append(inputs, readFile(t, seed))
	}
	slices.Sort(inputs)
	return slices.Compact(inputs)
}

var gleaners = append(usualGleaners, gleaner{name: "Java", read: func(t *testing.T, base string, count int) []gardenAnswer {
	return programGleans(t, systemProgram(t, "java"), "Fetch.java", base, count)
}})
