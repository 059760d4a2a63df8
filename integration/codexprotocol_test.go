//go:build linux

package integration

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// newestCodex is the path of the newest Codex.
func newestCodex(t *testing.T) string {
	t.Helper()
	return npmProgram(t, codexVersions[len(codexVersions)-1].path)
}

// TestCodexWithOneGenerationGone has the registration of one generation gone, for
// good or for a while. Whatever is there serves, with one registration, and a good
// identity is never put aside.
func TestCodexWithOneGenerationGone(t *testing.T) {
	t.Parallel()
	for _, gone := range []chatgpttest.Generation{chatgpttest.SecondGeneration, chatgpttest.FirstGeneration} {
		for _, status := range []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone} {
			t.Run(fmt.Sprintf("%s/%d", gone, status), func(t *testing.T) {
				t.Parallel()
				f := newLoginFixture(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Reply: codexReply}})
				f.backend.SetMissing(gone, status)
				u := f.user(t, newestCodex(t))
				check := func(step string) {
					t.Helper()
					stats := f.backend.Stats()
					aside, err := filepath.Glob(filepath.Join(f.stateDir, "identity.json.*"))
					if err != nil {
						t.Fatal(err)
					}
					if stats.AgentRegistrations != 1 || stats.Unauthorized != 0 || len(aside) != 0 {
						t.Errorf("%s: %d agents registered, %d requests refused, set aside %q; want 1, 0 and none",
							step, stats.AgentRegistrations, stats.Unauthorized, aside)
					}
				}
				u.turn(t, codexExec(codexQuiet...)...)
				check("at first")
				f.backend.SetMissing(gone, 0)
				f.backend.ForgetTasks() // a new one is registered where the agent was
				u.turn(t, codexExec(codexQuiet...)...)
				stats := f.backend.Stats()
				if stats.AgentRegistrations != 1 || stats.TaskRegistrations != 2 {
					t.Errorf("later: %d agents and %d tasks registered, want 1 and 2", stats.AgentRegistrations, stats.TaskRegistrations)
				}
			})
		}
	}
}

// TestCodexWithAssertionsForInferenceAlone has a server that takes assertions for
// inference alone, as the real one was seen to. Behind the proxy a turn takes the
// requests that it takes without, none is refused, and the task serves on.
func TestCodexWithAssertionsForInferenceAlone(t *testing.T) {
	t.Parallel()
	everything := codexExec()
	u := newCodexUser(t, newestCodex(t), fixtureConfig{})
	u.backend.SetInferenceOnly(true)
	u.turn(t, everything...)
	u.turn(t, everything...)
	requests := u.checkAsCodex(t, modeIdentity, u.placeholder)
	if stats := u.backend.Stats(); stats.Unauthorized != 0 || stats.TaskRegistrations != 1 || stats.AgentRegistrations != 1 {
		t.Errorf("%d requests were refused, %d agents and %d tasks registered; want 0, 1 and 1",
			stats.Unauthorized, stats.AgentRegistrations, stats.TaskRegistrations)
	}

	backend, err := chatgpttest.NewServerWith(chatgpttest.Config{Reply: codexReply, SigningKey: signingKey()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(backend.Close)
	backend.SetInferenceOnly(true)
	home := t.TempDir()
	writeFile(t, filepath.Join(home, "auth.json"), backend.Login(chatgpttest.Account{}).AuthJSON())
	environ := directly(t, backend, home)
	for range 2 {
		mustRun(t, environ, u.program, append(slices.Clone(everything), "--enable", "use_agent_identity")...)
	}
	for _, path := range []string{"/backend-api/codex/responses", "/backend-api/wham/accounts/check", "/backend-api/wham/settings/user"} {
		count := func(all []chatgpttest.Request) (n int) {
			for _, r := range all {
				if r.Path == path {
					n++
				}
			}
			return n
		}
		if ours, theirs := count(requests), count(backend.Requests()); ours > theirs {
			t.Errorf("%s was asked for %d times behind the proxy, %d times directly", path, ours, theirs)
		}
	}
}

// TestCodexOfFedRAMP has an account of FedRAMP, which the stand-in demands to be
// told of with every credential, with both signers and generations.
func TestCodexOfFedRAMP(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"accounts", "backend"} {
		for _, use := range []string{"auto", "agent-assertion", "bearer"} {
			t.Run(protocol+"/"+use, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, fixtureConfig{
					scope:   defaultScope,
					backend: chatgpttest.Config{Reply: codexReply},
					yaml:    "signer: {use: " + use + "}",
				})
				config := readFile(t, f.config)
				writeFile(t, f.config, []byte(strings.Replace(config, "identity: {", "identity: {protocol: "+protocol+", ", 1)))
				f.login = f.backend.Login(chatgpttest.Account{WorkspaceID: "gov", FedRAMP: true})
				f.logIn(t, f.login)
				u := f.user(t, newestCodex(t))
				u.turn(t, codexExec()...)
				if stats := f.backend.Stats(); stats.Unauthorized != 0 {
					t.Errorf("%d requests were refused", stats.Unauthorized)
				}
				for _, unwanted := range f.backend.Unwanted() {
					t.Error(unwanted)
				}
			})
		}
	}
}

// TestCodexCompacts has a conversation compacted behind the proxy, which is
// inference.
func TestCodexCompacts(t *testing.T) {
	t.Parallel()
	u := newCodexUser(t, newestCodex(t), fixtureConfig{})
	s := startAppServer(t, u)
	var thread struct{ Thread struct{ ID string } }
	s.call(t, "thread/start", map[string]any{"cwd": u.dir}, &thread)
	s.call(t, "turn/start", map[string]any{
		"threadId": thread.Thread.ID, "input": []any{map[string]any{"type": "text", "text": "say hi"}},
	}, nil)
	s.await(t, "turn/completed")
	s.call(t, "thread/compact/start", map[string]any{"threadId": thread.Thread.ID}, nil)
	if said := s.await(t, "turn/completed"); strings.Contains(said, `"method":"error"`) {
		t.Errorf("the app server said\n%s", said)
	}
	s.stop(t)
	u.checkAsCodex(t, modeIdentity, u.placeholder)
}

// TestCodexRemoteControl enrols, connects and pairs behind the proxy.
func TestCodexRemoteControl(t *testing.T) {
	t.Parallel()
	u := newCodexUser(t, newestCodex(t), fixtureConfig{})
	s := startAppServer(t, u)
	s.call(t, "remoteControl/enable", map[string]any{}, nil)
	for !strings.Contains(s.await(t, "remoteControl/status/changed"), `"status":"connected"`) {
	}
	var pairing struct{ PairingCode, ManualPairingCode string }
	s.call(t, "remoteControl/pairing/start", map[string]any{"manualCode": true}, &pairing)
	if pairing.ManualPairingCode != chatgpttest.ManualPairingCode {
		t.Errorf("pairing: %+v", pairing)
	}
	var status struct{ Claimed *bool }
	s.call(t, "remoteControl/pairing/status", map[string]any{"pairingCode": pairing.PairingCode}, &status)
	if status.Claimed == nil {
		t.Error("the status of the pairing is not known")
	}
	answered := func(r chatgpttest.Request) bool {
		return r.Path == "/backend-api/wham/remote/control/server" && len(r.Messages) > 0 && strings.Contains(string(r.Messages[0]), `"pong"`)
	}
	eventually(t, "Codex's answer over the WebSocket", func() bool { return slices.ContainsFunc(u.backend.Requests(), answered) })
	s.stop(t)
	u.checkAsCodex(t, modeIdentity, u.placeholder)
}
