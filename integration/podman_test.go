//go:build linux && engines

package integration

import (
	"path/filepath"
	"testing"
)

// podmanLayout gives Podman what it lacks on a machine without systemd: one kind
// of control groups, which the machine may have two of, and limits that it is
// allowed to set.
const podmanLayout = `
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
printf '[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]\ncgroups = "enabled"\n' >/etc/containers/containers.conf
`

// TestPodman has Podman do what docs/sidecar.md says of Docker without Compose,
// but for what the page says that Podman lacks.
func TestPodman(t *testing.T) {
	e := newEngine(t)
	sources := e.sources(t)
	// Podman has no engine of its own: what a reader does happens in namespaces
	// that last.
	e.start(t, e.isolated(podmanLayout+"exec sleep infinity"))
	var inside string
	e.wait(t, "Podman's namespaces", func() bool {
		inside = e.firstProcess()
		return inside != ""
	})
	podman := "exec nsenter --target " + inside + " --net --mount --pid -- env --chdir=\"$PWD\" /usr/bin/podman --root " + filepath.Join(e.dir, "data") + " --runroot " + filepath.Join(e.dir, "exec") +
		" --cgroup-manager cgroupfs --network-config-dir " + filepath.Join(e.dir, "networks") + " --events-backend file"
	e.addProgram(t, "podman", podman+` "$@"`)
	// As an alias of docker, which many have.
	e.addProgram(t, "docker", `
case "$1 $2" in
run*) shift; set -- run --cgroup-parent=/`+e.cgroup()+` "$@" ;;
esac
for word; do
  shift
  case $word in
  com.docker.network.bridge.inhibit_ipv4=true | --dns | 127.0.0.1 | -o) ;;
  *) set -- "$@" "$word" ;;
  esac
done
exec podman "$@"`)
	t.Cleanup(func() { e.try(t, e.dir, "podman rm -f --all; podman network rm inside") })
	t.Log(e.run(t, e.dir, "podman --version"))
	e.run(t, e.dir, "podman import "+e.imageArchive(t)+" agentproxy:latest")
	e.run(t, e.dir, "podman import "+agentChange()+" "+e.agentBase(t)+" my-agent")
	if r := e.try(t, e.dir, "podman network create --internal -o com.docker.network.bridge.inhibit_ipv4=true other"); r.code == 0 {
		t.Error("Podman takes Docker's option; docs/sidecar.md says that it does not")
	}
	e.checkTurn(t, e.follow(t, "Docker without Compose", filepath.Join(sources, "deploy")))
}
