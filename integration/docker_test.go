//go:build linux && engines

package integration

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// newDocker starts Docker's engine, with Compose for its command line.
func newDocker(t *testing.T) *engine {
	t.Helper()
	e := newEngine(t)
	plugins := filepath.Join(e.dir, "docker", "cli-plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	compose, err := filepath.Abs(filepath.Join("clients", "bin", "docker-compose"))
	if err != nil {
		t.Fatal(err)
	}
	if !isProgram(compose) {
		t.Fatalf("%s is missing; run make engines", compose)
	}
	if err := os.Symlink(compose, filepath.Join(plugins, "docker-compose")); err != nil {
		t.Fatal(err)
	}
	e.environ = append(e.environ, "DOCKER_HOST=unix://"+filepath.Join(e.dir, "docker.sock"), "DOCKER_CONFIG="+filepath.Dir(plugins), "DOCKER_BUILDKIT=1")

	log, err := os.Create(filepath.Join(e.dir, "dockerd.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// A name server on loopback, as many machines have it.
	cmd := e.isolated(fmt.Sprintf(`echo nameserver %[2]s >/etc/resolv.conf
exec dockerd --log-level warn --host unix://%[1]s/docker.sock --group root --data-root %[1]s/data --exec-root %[1]s/exec --pidfile %[1]s/pid --cgroup-parent /%[3]s
`, e.dir, loopbackNameServer, e.cgroup()))
	cmd.Stdout, cmd.Stderr = log, log
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("dockerd:\n%s", readFile(t, log.Name()))
		}
	})
	e.start(t, cmd)
	t.Cleanup(func() { e.try(t, e.dir, "docker ps -aq | xargs -r docker rm -f") })
	e.wait(t, "dockerd", func() bool { return e.try(t, e.dir, "docker version").code == 0 })
	t.Log(e.run(t, e.dir, "docker version --format 'Docker {{.Server.Version}}, API {{.Server.APIVersion}}'; docker compose version"))
	return e
}

// wait is eventually for what takes an engine longer.
func (e *engine) wait(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !condition(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// TestDocker has Docker's engine and Compose do what docs/sidecar.md says.
func TestDocker(t *testing.T) {
	e := newDocker(t)
	sources := e.sources(t)
	deploy := filepath.Join(sources, "deploy")
	e.run(t, e.dir, "docker import "+goImage+" "+e.goBase(t, sources)+" golang:1.26")
	e.run(t, e.dir, "docker import "+agentChange()+" "+e.agentBase(t)+" my-agent")

	e.follow(t, "The image", sources)
	if printed := e.run(t, e.dir, "docker run --rm --read-only --cap-drop ALL agentproxy:latest version"); !strings.HasPrefix(printed, "agentproxy ") {
		t.Errorf("agentproxy version: %s", printed)
	}
	t.Run("demo", func(t *testing.T) {
		for _, options := range []string{"", "--read-only --tmpfs /tmp", "--read-only -v demo:/var/lib/agentproxy"} {
			if printed := e.run(t, e.dir, "docker run --rm --network none "+options+" agentproxy:latest demo"); !strings.Contains(printed, "verified the assertion") {
				t.Errorf("demo with %q:\n%s", options, printed)
			}
		}
		if r := e.try(t, e.dir, "docker run --rm --network none --read-only agentproxy:latest demo"); r.code != 1 || !strings.Contains(r.stderr, "--tmpfs /tmp") {
			t.Errorf("demo where nothing can be written: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
	})
	t.Run("Compose", func(t *testing.T) { e.testCompose(t, deploy) })
	t.Run("without Compose", func(t *testing.T) { e.testAlone(t, deploy) })
}

// health is what the engine says of a container's health.
func (e *engine) health(t *testing.T, container string) string {
	t.Helper()
	return strings.TrimSpace(e.run(t, e.dir, "docker inspect --format '{{.State.Health.Status}}' "+container))
}

// testCompose follows what the page says of Compose, and then does what an
// operator and an agent of ill will may do.
func (e *engine) testCompose(t *testing.T, deploy string) {
	environ := e.environ
	defer func() { e.environ = environ }()
	e.environ = append(environ, "PROXY_TOKEN="+strings.TrimSpace(readFile(t, filepath.Join(deploy, "secrets", "token"))), "AGENT_IMAGE=my-agent", "AGENT_UID=1000")
	e.run(t, deploy, "docker compose build") // the layers are there

	// Not to the end of the section: what ends it is in the page's next block.
	e.addProgram(t, "docker", `case "$*" in "compose down") exit 0;; esac; exec /usr/bin/docker "$@"`)
	e.checkTurn(t, e.follow(t, "Compose", deploy))
	e.addProgram(t, "docker", `exec /usr/bin/docker "$@"`)
	health := func() string { return e.health(t, "deploy-proxy-1") }
	if status := health(); status != "healthy" {
		t.Errorf("the proxy is %s", status)
	}
	t.Run("reach", func(t *testing.T) {
		e.testReach(t, "docker compose run --rm -T agent", "deploy_inside", "deploy_outside", deploy)
	})
	t.Run("secrets", func(t *testing.T) { e.testAgentsFiles(t, deploy, "docker compose run --rm -T agent") })
	t.Run("health", func(t *testing.T) {
		identity := filepath.Join(deploy, "secrets", "identity.json")
		if err := os.Remove(identity); err != nil {
			t.Fatal(err)
		}
		e.wait(t, "that the proxy is unhealthy", func() bool { return health() == "unhealthy" })
		second := e.fixture.giveIdentity(t, identity)
		e.wait(t, "that the proxy is healthy", func() bool { return health() == "healthy" })
		e.fixture.backend.ResetRequests()
		e.checkTurn(t, e.run(t, deploy, "docker compose run --rm -T agent </dev/null"))
		for _, r := range e.fixture.backend.Requests() {
			if r.Auth.AgentRuntimeID != second && r.Auth.AgentRuntimeID != "" {
				t.Errorf("%s was signed as %s, want %s", r.Path, r.Auth.AgentRuntimeID, second)
			}
		}
	})
	t.Run("up", func(t *testing.T) { // for an agent that needs no terminal
		e.run(t, deploy, "docker compose down --volumes")
		e.fixture.backend.ResetRequests()
		e.run(t, deploy, "docker compose up --detach")
		e.wait(t, "the agent's end", func() bool {
			return strings.Contains(e.run(t, deploy, "docker compose ps --all agent"), "Exited")
		})
		e.checkTurn(t, e.run(t, deploy, "docker compose logs agent"))
	})
	e.run(t, deploy, "docker compose down --volumes")
	if left := e.run(t, deploy, "docker ps -aq; docker volume ls -q | grep deploy; docker network ls -q --filter name=deploy"); left != "" {
		t.Errorf("docker compose down leaves %s", left)
	}
}

// testAlone follows what the page says of Docker without Compose.
func (e *engine) testAlone(t *testing.T, deploy string) {
	e.fixture.backend.ResetRequests()
	e.checkTurn(t, e.follow(t, "Docker without Compose", deploy))
	e.wait(t, "that the proxy is healthy", func() bool { return e.health(t, "proxy") == "healthy" })
	e.run(t, deploy, "docker rm -f proxy && docker volume rm state shared && docker network rm inside")
}

// loopbackNameServer is what the machine's /etc/resolv.conf names. It is not that
// of systemd, for which the engine takes others.
const loopbackNameServer = "127.0.0.54"

// testReach has an agent try to reach a server of the machine, and its name
// server. That others can, shows that these are there.
func (e *engine) testReach(t *testing.T, agent, inside, outside, dir string) {
	var hits, queries atomic.Int64
	inNetwork(t, e.network, func() {
		listener, err := net.Listen("tcp4", "0.0.0.0:7777")
		if err != nil {
			t.Error(err)
			return
		}
		names, err := net.ListenPacket("udp4", loopbackNameServer+":53")
		if err != nil {
			t.Error(err)
			return
		}
		done := make(chan struct{}, 2)
		t.Cleanup(func() {
			listener.Close()
			names.Close()
			<-done
			<-done
		})
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				hits.Add(1)
				conn.Close()
			}
		}()
		go func() {
			defer func() { done <- struct{}{} }()
			query := make([]byte, 512)
			for {
				n, _, err := names.ReadFrom(query)
				if err != nil {
					return
				}
				if strings.Contains(string(query[:n]), "way-out") {
					queries.Add(1)
				}
			}
		}()
	})
	gateway := strings.TrimSpace(e.run(t, dir, "docker network inspect --format '{{(index .IPAM.Config 0).Gateway}}' "+inside))
	// curl fails either way: the server only hangs up, and the name server is silent.
	script := fmt.Sprintf("for url in http://%s:7777 http://%s:7777 http://way-out.example; do curl -sS --noproxy '*' -m 5 $url; done; true", gateway, backendAddress)
	said := e.run(t, dir, agent+" sh -c "+quote(script)+" 2>&1")
	if hits.Load() > 0 || queries.Load() > 0 {
		t.Errorf("the agent reached the machine %d times, and its name server %d times:\n%s", hits.Load(), queries.Load(), said)
	}
	said = e.run(t, dir, "docker run --rm --network "+outside+" my-agent sh -c "+quote(script)+" 2>&1")
	if hits.Load() == 0 || queries.Load() == 0 {
		t.Errorf("nobody reaches the machine (%d times) and its name server (%d times), so nothing is shown:\n%s", hits.Load(), queries.Load(), said)
	}
}

// testAgentsFiles looks for secrets in all that the agent can read.
func (e *engine) testAgentsFiles(t *testing.T, dir, agent string) {
	side := &sweep{fixture: e.fixture, secrets: make(map[string]string), written: make(map[string]string)}
	side.learn()
	side.learnKey(t, e.fixture.login.Identity().PrivateKeyPKCS8)
	for i, identity := range e.fixture.given {
		side.know(fmt.Sprint("identity ", i), identity)
	}
	const script = `id -u; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; find / -xdev -type f -size -4000k -exec cat {} +; cat /agentproxy/* /codex/* /etc/hosts`
	read := e.run(t, dir, agent+" sh -c "+quote(script+"; true"))
	side.note("what the agent reads", read)
	if !strings.HasPrefix(read, "1000\n") || !strings.Contains(read, "HTTPS_PROXY=") || !strings.Contains(read, "BEGIN CERTIFICATE") || !strings.Contains(read, "auth_mode") {
		t.Errorf("the agent did not read its files: %d bytes, %.100q", len(read), read)
	}
	for _, leak := range side.found() {
		t.Error(leak)
	}
	side.note("a leak", e.fixture.given[0])
	if len(side.found()) == 0 {
		t.Error("the search finds nothing at all")
	}
	e.checkReadOnly(t, dir, agent)
}

// checkReadOnly has the agent try to change what it is given.
func (e *engine) checkReadOnly(t *testing.T, dir, agent string) {
	t.Helper()
	for _, path := range []string{"/agentproxy/bundle.pem", "/codex/auth.json", "/usr/bin/codex"} {
		if r := e.try(t, dir, agent+" sh -c 'echo >>"+path+"'"); r.code == 0 {
			t.Errorf("the agent can write to %s", path)
		}
	}
}
