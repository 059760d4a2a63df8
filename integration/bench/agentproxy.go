//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

// startDirect starts nothing: clients talk to the server itself.
func startDirect(_ context.Context, b *bench, _ string) (*instance, error) {
	return &instance{endpoint: endpoint{
		program: direct, address: b.upstream.address, host: chatgptHost, roots: roots(b.ca.certPEM),
	}}, nil
}

// startAgentproxy starts the release binary.
func startAgentproxy(ctx context.Context, b *bench, dir string) (*instance, error) {
	return b.startBinary(ctx, b.binary, agentproxy, dir, "")
}

// startBefore starts the binary that the other one is compared with.
func startBefore(ctx context.Context, b *bench, dir string) (*instance, error) {
	return b.startBinary(ctx, b.before, before, dir, "")
}

// startWithUsage starts the release binary, which notes what responses used.
func startWithUsage(ctx context.Context, b *bench, dir string) (*instance, error) {
	return b.startBinary(ctx, b.binary, withUsage, dir, fmt.Sprintf("usage: {file: %q}\n", filepath.Join(dir, "usage.jsonl")))
}

// startBinary starts a binary of agentproxy, which signs as an agent identity, with more at
// the end of its configuration.
func (b *bench) startBinary(ctx context.Context, binary, name, dir, more string) (*instance, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config, err := b.writeConfig(dir, address, more)
	if err != nil {
		return nil, err
	}
	e := agentproxyEndpoint(address)
	e.program = name
	i, err := launch(ctx, dir, e, cleanEnviron(dir), binary, "serve", "--config", config)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(dir, "state", "ca", "ca.pem"))
	if err != nil {
		i.stop()
		return nil, err
	}
	i.roots = roots(ca)
	return i, nil
}

func agentproxyEndpoint(address string) endpoint {
	return endpoint{program: agentproxy, address: address, connect: net.JoinHostPort(chatgptHost, "443"), host: chatgptHost}
}

// writeConfig writes agentproxy's configuration, with more at its end, and a log-in into
// dir, and returns the path of the former.
func (b *bench) writeConfig(dir, address, more string) (string, error) {
	return writeLogin(dir, address, fmt.Sprintf(`upstream:
  connect_to: {"chatgpt.com:443": %q}
  ca_file: %q
  allow_private: [127.0.0.0/8]
other_hosts: [%q]
limits: {connections: 20000, connections_per_label: 15000, requests_per_label: 15000}
%s`, b.upstream.address, b.ca.certFile, b.upstream.source, more))
}

// writeLogin writes a log-in and a configuration, with more at its end.
func writeLogin(dir, address, more string) (string, error) {
	home := filepath.Join(dir, "codex")
	if err := os.Mkdir(home, 0o700); err != nil {
		return "", err
	}
	auth, err := authJSON()
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(home, "auth.json"), auth, 0o600); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "agentproxy.yaml")
	return path, os.WriteFile(path, fmt.Appendf(nil, `listen: %q
admin: ""
state_dir: %q
identity: {codex_home: %q, register: false}
signer: {use: agent-assertion}
log: {level: error, format: json}
%s`, address, filepath.Join(dir, "state"), home, more), 0o600)
}

// authJSON returns a log-in that is an agent identity with a task, and nothing
// else.
func authJSON() ([]byte, error) {
	key, err := identity.GenerateKey()
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"auth_mode":      "agentIdentity",
		"OPENAI_API_KEY": nil,
		"agent_identity": map[string]any{
			"workspace_id":               "account-bench",
			"account_id":                 "account-bench",
			"chatgpt_user_id":            "user-bench",
			"email":                      "bench@example.com",
			"plan_type":                  "pro",
			"chatgpt_account_is_fedramp": false,
			"agent_runtime_id":           "agent-bench-0123456789abcdef",
			"agent_private_key":          key.Encode().Reveal(),
			"registered_at":              time.Now().UTC().Format(time.RFC3339),
			"background_task_id":         "task-bench-0123456789abcdef",
			"task_id":                    "task-bench-0123456789abcdef",
		},
	})
}

// cleanEnviron is an environment with nothing in it that leads to a proxy or a
// log-in.
func cleanEnviron(home string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LANG=C.UTF-8"}
}
