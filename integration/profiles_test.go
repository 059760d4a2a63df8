//go:build linux

package integration

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// profileClient is a client that a profile is for.
type profileClient struct {
	label, profile, workspace string
	client                    *http.Client
}

// TestProfilesAreApart has the labels of five profiles at work at once, which
// share two log-ins, while the backend forgets tasks and tokens and the
// configuration is reloaded. No request ever bears what belongs to another
// profile or label, be it refused by the backend or not.
func TestProfilesAreApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{identity: firstGeneration})
	dir := filepath.Dir(f.config)
	homes := make(map[string]string) // by workspace
	for _, workspace := range []string{"account-a", "account-b"} {
		home := filepath.Join(dir, workspace)
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		login := f.backend.Login(chatgpttest.Account{WorkspaceID: workspace, UserID: "user-of-" + workspace})
		writeFile(t, filepath.Join(home, "auth.json"), login.AuthJSON())
		homes[workspace] = home
	}
	tokens := filepath.Join(dir, "tokens")
	lines := "agentproxy:sesame\nstranger:sesame\n"
	workspaces := map[string]string{"alpha": "account-a", "beta": "account-b", "gamma": "account-a", "delta": "account-b", "epsilon": "account-b"}
	var labels []string
	for profile := range workspaces {
		for i := range 5 {
			label := fmt.Sprint(profile, "-", i)
			labels = append(labels, label)
			lines += label + ":token-of-" + label + "\n"
		}
	}
	writeFile(t, tokens, []byte(lines))
	content := readFile(t, f.config) + fmt.Sprintf(`clients: {tokens_file: %q}
profiles:
  - {name: alpha, labels: ["alpha-*"], identity: {codex_home: %[2]q}, signer: {use: agent-assertion}}
  - {name: beta, labels: ["beta-*"], identity: {codex_home: %[3]q}, signer: {use: agent-assertion}}
  - {name: gamma, labels: ["gamma-*"], identity: {codex_home: %[2]q}}
  - {name: delta, labels: ["delta-*"], identity: {codex_home: %[3]q}, signer: {use: bearer}}
  - {name: epsilon, labels: ["epsilon-*"], identity: {codex_home: %[3]q}, signer: {use: bearer}}
  - {name: others, labels: [stranger], refuse: true}
`, tokens, homes["account-a"], homes["account-b"])
	writeFile(t, f.config, []byte(content))
	p := f.serve(t)

	stop := make(chan struct{})
	var atWork sync.WaitGroup
	var answered atomic.Int64
	for i, label := range labels {
		profile, _, _ := strings.Cut(label, "-")
		c := profileClient{label, profile, workspaces[profile], p.labelled(t, label, "token-of-"+label, i%2 == 0)}
		atWork.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := c.ask(); err != nil {
					t.Error(err)
					return
				}
				answered.Add(1)
			}
		})
	}
	progress := func() {
		t.Helper()
		then := answered.Load()
		eventually(t, "the clients to go on", func() bool { return answered.Load() > then+200 || t.Failed() })
	}
	progress()
	f.backend.ForgetTasks()
	progress()
	f.backend.ForgetAccessTokens()
	progress()
	for i := range 5 {
		p.logs(t, reloaded, func() {
			replaceFile(t, f.config, strings.Replace(content, "name: alpha,", fmt.Sprintf("name: alpha, limits: {connections_per_label: %d},", 100+i), 1))
		})
		progress()
	}
	for _, first := range []string{"delta", "others"} { // another order, and another signer
		p.logs(t, reloaded, func() {
			line := content[strings.Index(content, "  - {name: "+first):]
			line = line[:strings.Index(line, "\n")+1]
			moved := strings.Replace(strings.Replace(content, line, "", 1), "profiles:\n", "profiles:\n"+line, 1)
			replaceFile(t, f.config, strings.Replace(moved, "use: bearer", "use: auto", 1))
		})
		progress()
	}
	// The log-in that delta shares is being refreshed, which takes its time.
	eventually(t, "four agents to act", func() bool {
		agents := make(map[string]bool)
		for _, r := range f.backend.Requests() {
			agents[r.Auth.AgentRuntimeID] = r.Auth.AgentRuntimeID != "" && r.RawQuery != ""
		}
		delete(agents, "")
		return len(agents) >= 4 || t.Failed()
	})
	close(stop)
	atWork.Wait()

	checkApart(t, f.backend, workspaces)
	if n := f.backend.Stats().Refreshes; n != 1 {
		t.Errorf("the log-in that two profiles share was refreshed %d times", n)
	}
	// Whoever no profile is for acts as the usual identity, and strangers as
	// nobody.
	if err := (profileClient{label: "agentproxy", workspace: "account-123", client: p.labelled(t, "agentproxy", "sesame", false)}).ask(); err != nil {
		t.Error(err)
	}
	f.checkNothingAfter(t, func() {
		if r := curl(t, p.env, "--proxy", "http://stranger:sesame@"+p.addr, backendAPI+"/test/echo"); r.Connect != 403 {
			t.Errorf("a stranger's CONNECT was answered with %d", r.Connect)
		}
	})
	f.checkPrivate(t)
}

// labelled returns a client that shows a label and a token.
func (p *proxy) labelled(t *testing.T, label, token string, h1 bool) *http.Client {
	t.Helper()
	c := p.client(t, label)
	transport := c.Transport.(*http.Transport)
	transport.ProxyConnectHeader = nil
	transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: p.addr, User: url.UserPassword(label, token)})
	if h1 {
		transport.ForceAttemptHTTP2 = false
		transport.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}
	return c
}

// ask sends a request that says whose it is.
func (c profileClient) ask() error {
	response, err := c.client.Get(backendAPI + "/test/echo?label=" + c.label)
	if err != nil {
		return fmt.Errorf("%s: %w", c.label, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s, %v: %s", c.label, response.Status, err, body)
	}
	return nil
}

// checkApart fails the test if what a request bore was another profile's or
// another label's. Labels begin with their profile.
func checkApart(t *testing.T, backend *chatgpttest.Server, workspaces map[string]string) {
	t.Helper()
	taskOf, schemes := make(map[string]string), make(map[string]int)
	agentOf := make(map[string]string)
	for _, r := range backend.Requests() {
		query, err := url.ParseQuery(r.RawQuery)
		label := query.Get("label")
		if err != nil || label == "" {
			continue
		}
		profile, _, _ := strings.Cut(label, "-")
		schemes[r.Auth.Scheme]++
		if got := r.Auth.WorkspaceID; r.Auth.OK && got != workspaces[profile] {
			t.Errorf("%s acted in workspace %s", label, got)
		}
		if got := r.Header.Get("ChatGPT-Account-ID"); got != "" && got != workspaces[profile] {
			t.Errorf("%s came with the account %s", label, got)
		}
		if task := r.Auth.TaskID; task != "" {
			if other, known := taskOf[task]; known && other != label {
				t.Errorf("task %s served %s and %s", task, other, label)
			}
			taskOf[task] = label
		}
		if agent := r.Auth.AgentRuntimeID; agent != "" {
			if other, known := agentOf[agent]; known && other != profile {
				t.Errorf("agent %s served %s and %s", agent, other, profile)
			}
			agentOf[agent] = profile
		}
	}
	if len(agentOf) != 4 || schemes[chatgpttest.SchemeBearer] == 0 || len(taskOf) < 20 {
		t.Errorf("%d agents, %d tasks, %v: want four agents, a task for each of their labels, and tokens", len(agentOf), len(taskOf), schemes)
	}
	t.Logf("%d agents, %d tasks, %v", len(agentOf), len(taskOf), schemes)
}
