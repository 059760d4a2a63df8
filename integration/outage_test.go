//go:build linux

package integration

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestRegistrationOutage has a task come of age while the backend registers no
// other. Agents that may sign with nothing else go on, and who looks is told. It
// is no help where the backend forgets the task; then another is had as soon as
// there is one.
func TestRegistrationOutage(t *testing.T) {
	t.Parallel()
	f := newLoginFixture(t, fixtureConfig{identity: firstGeneration, yaml: "signer: {on_failure: refuse}"})
	f.adminOn(t)
	mustRun(t, baseEnv(t), agentproxy, "sign", "--config", f.config)
	task := f.ageTasks(t, 21*time.Hour)
	restored := f.backend.Inject(chatgpttest.Fault{Path: "*/task/register", Status: http.StatusInternalServerError})
	p := f.serve(t)
	client := p.client(t, "")
	mustAsk(t, client, http.StatusOK)
	asked := 0 // among them a try for another task may be the last
	for _, r := range f.backend.Requests() {
		if r.Path == "/backend-api/test/upload" {
			if asked++; r.Auth.TaskID != task {
				t.Errorf("signed for task %q, want the former one", r.Auth.TaskID)
			}
		}
	}
	if asked != 1 {
		t.Errorf("%d requests of the client reached the backend, want one", asked)
	}

	eventually(t, "it is told", func() bool { return strings.Contains(p.log.String(), "a task is used past its time") })
	var status struct {
		Agents []struct {
			Ready       bool
			Task        string
			TaskOverdue string `json:"task_overdue"`
		}
	}
	if err := json.Unmarshal([]byte(p.askAdmin(t, "/status.json")), &status); err != nil || len(status.Agents) != 1 {
		t.Fatalf("the status: %+v, %v", status, err)
	}
	if a := status.Agents[0]; !a.Ready || a.Task != task || !strings.Contains(a.TaskOverdue, "the backend answered 500") {
		t.Errorf("the status is %+v", a)
	}
	check := mustRun(t, baseEnv(t), agentproxy, "check", "--config", f.config)
	if !strings.Contains(check, task+"; it is due to be replaced") || !strings.Contains(check, "its task is due to be replaced, and could not be: ") ||
		!strings.Contains(check, "the backend answered 500") || !strings.Contains(check, "ok       signed request") {
		t.Errorf("check says\n%s", check)
	}
	if sign := run(t, baseEnv(t), agentproxy, "sign", "--config", f.config); sign.code != 0 || !strings.Contains(sign.stderr, "a task is used past its time") {
		t.Errorf("sign: %+v", sign)
	}

	f.backend.ForgetTasks()
	mustAsk(t, client, http.StatusUnauthorized)
	mustAsk(t, client, http.StatusServiceUnavailable)
	restored()
	eventually(t, "requests are signed again", func() bool {
		status, err := ask(client, nil)
		return err == nil && status == http.StatusOK
	})
	// A program that does nothing but sign renews, too.
	task = f.ageTasks(t, 21*time.Hour)
	mustRun(t, baseEnv(t), agentproxy, "sign", "--config", f.config)
	if next := f.ageTasks(t, 0); next == task {
		t.Error("the task was not replaced")
	}
}

// ageTasks has the default task be as old as that, and returns it.
func (f *fixture) ageTasks(t *testing.T, age time.Duration) (id string) {
	t.Helper()
	path := filepath.Join(f.stateDir, "tasks.json")
	var file map[string]any
	if err := json.Unmarshal([]byte(readFile(t, path)), &file); err != nil {
		t.Fatal(err)
	}
	entry := file["tasks"].(map[string]any)[""].(map[string]any)
	entry["registered_at"] = time.Now().Add(-age)
	raw, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, raw)
	return entry["task_id"].(string)
}

// askAdmin returns what the admin port answers.
func (p *proxy) askAdmin(t *testing.T, path string) string {
	t.Helper()
	response, err := http.Get("http://" + p.fixture.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
