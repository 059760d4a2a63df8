//go:build linux

package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// The addresses of the test's networks (RFC 5737): who asks, the proxy, and what
// stands for the Internet beyond it.
const (
	agentAddress   = "192.0.2.2"
	proxyAddress   = "192.0.2.1"
	backendAddress = "198.51.100.1"
)

var networks atomic.Int64

// newNetwork makes a network namespace that leads nowhere.
func newNetwork(t *testing.T) (name string) {
	t.Helper()
	name = "agentproxy-" + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(networks.Add(1), 10)
	ip(t, "netns", "add", name)
	t.Cleanup(func() {
		if out, err := exec.Command(ipProgram(t), "netns", "del", name).CombinedOutput(); err != nil {
			t.Errorf("ip netns del: %v\n%s", err, out)
		}
	})
	ip(t, "-n", name, "link", "set", "lo", "up")
	return name
}

// connectNetworks lays a cable between two networks, and gives each end an
// address: there is no other way out of either.
func connectNetworks(t *testing.T, from, fromAddress, to, toAddress string) {
	t.Helper()
	ip(t, "-n", from, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", to)
	for network, address := range map[string]string{from: fromAddress, to: toAddress} {
		ip(t, "-n", network, "addr", "add", address+"/30", "dev", "eth0")
		ip(t, "-n", network, "link", "set", "eth0", "up")
	}
}

// ip runs ip(8).
func ip(t *testing.T, args ...string) string {
	t.Helper()
	return mustRun(t, baseEnv(t), ipProgram(t), args...)
}

func ipProgram(t *testing.T) string {
	t.Helper()
	for _, path := range []string{"/usr/sbin/ip", "/sbin/ip"} { // no client's program
		if isProgram(path) {
			return path
		}
	}
	return systemProgram(t, "ip")
}

// inNetwork does something whose sockets are to be in a network.
func inNetwork(t *testing.T, name string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		namespace, err := os.Open(filepath.Join("/run/netns", name))
		if err != nil {
			t.Error(err)
			return
		}
		defer namespace.Close()
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			t.Errorf("setns: %v", err)
			return
		}
		do()
	}()
	<-done
	if t.Failed() {
		t.FailNow()
	}
}

// routes are those of a network, as ip(8) prints them.
func routes(t *testing.T, network string) string {
	t.Helper()
	return strings.TrimSpace(ip(t, "-n", network, "-4", "route", "show", "table", "all", "type", "unicast") + ip(t, "-n", network, "-6", "route", "show", "default"))
}
