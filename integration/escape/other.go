//go:build linux

package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds the wait for a server outside that does not answer.
const patience = 5 * time.Second

// otherWays ask somebody.
func otherWays() []way {
	all := []way{
		{"servers' sockets", true, 0, func(t target) ([]byte, error) {
			var all []byte
			var errs []error
			for _, address := range t.Sockets {
				raw, err := ask("unix", address)
				all, errs = append(all, raw...), append(errs, err)
			}
			return all, errors.Join(errs...)
		}},
		{"servers' ports", true, 0, func(t target) ([]byte, error) {
			var all []byte
			var errs []error
			// Not by the proxy, which would refuse that.
			client := http.Client{Timeout: patience, Transport: new(http.Transport)}
			for _, url := range t.URLs {
				resp, err := client.Get(url)
				errs = append(errs, err)
				if err == nil {
					raw, err := io.ReadAll(io.LimitReader(resp.Body, maxGot))
					resp.Body.Close()
					all, errs = append(all, raw...), append(errs, err)
				}
			}
			return all, errors.Join(errs...)
		}},
		{"servers' ports by the proxy", false, 0, func(t target) ([]byte, error) {
			var all []byte
			var errs []error
			for _, url := range t.URLs {
				// Without the variables that keep addresses of this machine from it.
				cmd := exec.Command("curl", "-sS", "--noproxy", "", "--max-time", "5", url)
				raw, err := cmd.CombinedOutput()
				all, errs = append(all, raw...), append(errs, err)
			}
			return all, errors.Join(errs...)
		}},
		{"typing into the terminal", false, 0, typed},
	}
	for _, c := range []struct {
		name  string
		plain bool
		args  func(t target) []string
	}{
		{"agentproxy sign", false, func(t target) []string { return []string{"sign", "--config", t.Config} }},
		{"agentproxy sign without a configuration", false, func(target) []string { return []string{"sign"} }},
		{"agentproxy identity export", false, func(t target) []string { return []string{"identity", "export", "--config", t.Config, "--output", "-"} }},
		{"agentproxy identity show", false, func(t target) []string { return []string{"identity", "show", "--config", t.Config} }},
		{"agentproxy identity placeholder", false, func(t target) []string { return []string{"identity", "placeholder", "--config", t.Config} }},
		{"agentproxy env", false, func(t target) []string { return []string{"env", "--config", t.Config} }},
		{"agentproxy check", false, func(t target) []string { return []string{"check", "--config", t.Config} }},
		{"agentproxy ca export", false, func(t target) []string { return []string{"ca", "export", "--config", t.Config} }},
		{"agentproxy run in it", false, func(t target) []string {
			return []string{"run", "--anyway", "--isolate", "off", "--config", t.Config, "--", "cat", t.auth()}
		}},
		{"agentproxy run with the user's home", true, func(t target) []string {
			return []string{"run", "--anyway", "--keep-codex-home", "--config", t.Config, "--", "cat", t.auth()}
		}},
	} {
		all = append(all, way{c.name, c.plain, 0, func(t target) ([]byte, error) {
			cmd := exec.Command(t.Agentproxy, c.args(t)...)
			cmd.Env = append(os.Environ(), "AGENTPROXY_STATE_DIR="+t.State, "CODEX_HOME="+t.Home)
			return cmd.CombinedOutput()
		}})
	}
	return all
}

// ask returns what a server says.
func ask(network, address string) ([]byte, error) {
	conn, err := net.DialTimeout(network, address, patience)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(conn, maxGot))
}

// typed types into a terminal, as if its user had.
func typed(target) ([]byte, error) {
	pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	number, err := unix.IoctlGetInt(int(pty.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlSetPointerInt(int(pty.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, err
	}
	if _, err := unix.Setsid(); err != nil {
		return nil, err
	}
	tty, err := unix.Open("/dev/pts/"+itoa(number), unix.O_RDWR, 0) // becomes the terminal of this session
	if err != nil {
		return nil, err
	}
	return nil, unless(typeInto(tty), "what is typed into the terminal")
}
