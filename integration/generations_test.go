//go:build linux

package integration

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// turn has the newest Codex take a turn through a proxy.
func turn(t *testing.T, p *proxy) {
	t.Helper()
	home, _ := codexHome(t, p)
	newest := codexVersions[len(codexVersions)-1].path
	if out := mustRun(t, append(p.env, "CODEX_HOME="+home), npmProgram(t, newest), codexExec()...); !strings.Contains(out, codexReply) {
		t.Errorf("codex said %q", out)
	}
}

// TestGenerationsComeAndGo takes the endpoints of one generation away, then those of
// the other: Codex's turns go on, with one registration, and the identity stays.
func TestGenerationsComeAndGo(t *testing.T) {
	t.Parallel()
	for _, order := range [][2]chatgpttest.Generation{
		{chatgpttest.FirstGeneration, chatgpttest.SecondGeneration}, {chatgpttest.SecondGeneration, chatgpttest.FirstGeneration},
	} {
		for _, status := range []int{404, 410} {
			t.Run(fmt.Sprintf("%s %d", order[0], status), func(t *testing.T) {
				t.Parallel()
				f := newLoginFixture(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Reply: codexReply}})
				f.backend.SetMissing(order[0], status)
				p := f.serve(t)
				turn(t, p)
				agents := f.backend.Stats().AgentRegistrations
				for i, missing := range []chatgpttest.Generation{order[1], order[0]} {
					f.backend.SetMissing(order[0], 0)
					f.backend.SetMissing(order[1], 0)
					f.backend.SetMissing(missing, status)
					f.backend.ForgetTasks() // so that another one is asked for
					turn(t, p)
					if tasks := f.backend.Stats().TaskRegistrations; tasks < 2+i {
						t.Errorf("%d tasks were registered: the missing endpoints were not needed", tasks)
					}
				}
				if now := f.backend.Stats().AgentRegistrations; agents != 1 || now != 1 {
					t.Errorf("%d agents were registered, then %d", agents, now)
				}
				if aside, _ := filepath.Glob(filepath.Join(f.stateDir, "identity.json.*")); len(aside) != 0 {
					t.Errorf("set aside: %q", aside)
				}
				for _, unwanted := range f.backend.Unwanted() {
					t.Error(unwanted)
				}
			})
		}
	}
}

// TestAssertionsForInferenceAlone has the server refuse assertions elsewhere, as the
// real one was seen to: a turn takes no more requests than without us.
func TestAssertionsForInferenceAlone(t *testing.T) {
	t.Parallel()
	for _, fedRAMP := range []bool{false, true} {
		t.Run(fmt.Sprint("FedRAMP ", fedRAMP), func(t *testing.T) {
			t.Parallel()
			account := chatgpttest.Account{FedRAMP: fedRAMP}
			// asked returns what a turn asks of the backend, in an order of ours. Codex
			// asks for its models once or twice, as it happens; where nothing is refused,
			// nothing is sent again.
			asked := func(backend *chatgpttest.Server) (all []string) {
				for _, r := range backend.Requests() {
					if r.Host == "auth.openai.com" {
						continue // which the proxy asks beforehand
					}
					if !r.Auth.OK || r.Status >= 400 {
						t.Errorf("%s %s: status %d %s", r.Method, r.Path, r.Status, r.Auth.Reason)
					}
					all = append(all, r.Method+" "+r.Host+r.Path+" "+r.Auth.Scheme)
				}
				slices.Sort(all)
				return slices.Compact(all)
			}
			direct, err := chatgpttest.NewServerWith(chatgpttest.Config{Reply: codexReply, SigningKey: signingKey()})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(direct.Close)
			direct.SetInferenceOnly(true)
			home := t.TempDir()
			writeFile(t, filepath.Join(home, "auth.json"), direct.Login(account).AuthJSON())
			newest := npmProgram(t, codexVersions[len(codexVersions)-1].path)
			mustRun(t, directly(t, direct, home), newest, codexExec(append(slices.Clone(codexQuiet), "--enable", "use_agent_identity")...)...)

			f := newLoginFixture(t, fixtureConfig{scope: defaultScope, backend: chatgpttest.Config{Reply: codexReply}})
			f.login = f.backend.Login(account)
			f.logIn(t, f.login)
			f.backend.SetInferenceOnly(true)
			p := f.serve(t)
			behind, _ := codexHome(t, p)
			for range 2 {
				f.backend.ResetRequests()
				mustRun(t, append(p.env, "CODEX_HOME="+behind), newest, codexExec(codexQuiet...)...)
				if ours, theirs := asked(f.backend), asked(direct); !slices.Equal(ours, theirs) {
					t.Errorf("behind us Codex asks\n%s\nwithout us\n%s", strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
				}
			}
			if got := f.backend.Stats(); got.AgentRegistrations != 1 || got.TaskRegistrations > 2 || got.Unauthorized != 0 {
				t.Errorf("the backend counted %+v", got)
			}
			for _, unwanted := range append(f.backend.Unwanted(), direct.Unwanted()...) {
				t.Error(unwanted)
			}
		})
	}
}
