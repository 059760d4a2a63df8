package agent

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent/retry"
)

// taskTest is tasks.json and the clock of those who use it.
type taskTest struct {
	path string
	at   time.Time
}

func newTaskTest(t *testing.T) *taskTest {
	return &taskTest{filepath.Join(t.TempDir(), "state", "tasks.json"), time.Date(2026, 4, 15, 12, 0, 0, 0, time.UTC)}
}

func (tt *taskTest) open() *tasks { return newTasks(tt.path, func() time.Time { return tt.at }, nil) }

func put(t *testing.T, k *tasks, agent, label, id string) {
	t.Helper()
	k.put(identity.Task{AgentRuntimeID: agent, ID: id}, label)
	if err := k.save(); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, k *tasks, agent, label, want string) {
	t.Helper()
	if task, _, ok := k.get(agent, label); task.ID != want || ok != (want != "") {
		t.Fatalf("agent %q, label %q: task %q, %v; want %q", agent, label, task.ID, ok, want)
	}
}

// TestRefusals has processes share what was refused, and forget it with the task
// that takes the place of the refused one.
func TestRefusals(t *testing.T) {
	tt := newTaskTest(t)
	save := func(k *tasks) {
		t.Helper()
		if err := k.save(); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(k *tasks, agent, label string, want bool) {
		t.Helper()
		if got := k.lastRefused(agent, label); got != want {
			t.Errorf("agent %q, label %q: refused %v, want %v", agent, label, got, want)
		}
	}
	k := tt.open()
	put(t, k, "a", "x", "task-1")
	tt.at = tt.at.Add(time.Minute)
	k.refuse(identity.Task{AgentRuntimeID: "a", ID: "task-1"}, "x")
	save(k)
	other := tt.open()
	for _, k := range []*tasks{k, other} {
		refused(k, "a", "x", true)
		refused(k, "a", "y", false)
		refused(k, "b", "x", false)
	}
	put(t, other, "a", "x", "task-2")
	refused(other, "a", "x", false)
	refused(tt.open(), "a", "x", false)
	k.reload("a")
	refused(k, "a", "x", false)
	k.refuse(identity.Task{AgentRuntimeID: "a", ID: "task-1"}, "x") // late
	save(k)
	refused(k, "a", "x", false)
	refused(tt.open(), "a", "x", false)

	// One that was never kept: the record's own.
	k.refuse(identity.Task{AgentRuntimeID: "b", ID: "task-3"}, "")
	save(k)
	refused(tt.open(), "b", "", true)
	put(t, k, "b", "y", "task-4") // what was refused is another agent's matter no more
	k.refuse(identity.Task{AgentRuntimeID: "b", ID: "task-4"}, "y")
	put(t, k, "c", "x", "task-5")
	for _, label := range []string{"", "x", "y"} {
		refused(k, "b", label, false)
		refused(tt.open(), "b", label, false)
	}
	for i := range maxTasks + 10 {
		tt.at = tt.at.Add(time.Second)
		k.refuse(identity.Task{AgentRuntimeID: "c", ID: fmt.Sprint("task-c", i)}, fmt.Sprint("label-", i))
	}
	save(k)
	for _, k := range []*tasks{k, tt.open()} {
		refused(k, "c", "label-9", false)
		refused(k, "c", "label-10", true)
		if len(k.refusals) != maxTasks {
			t.Errorf("%d refusals are remembered, want %d", len(k.refusals), maxTasks)
		}
	}
	k.clear()
	save(k)
	refused(k, "c", "label-10", false)
	refused(tt.open(), "c", "label-10", false)
}

func TestTasksAreRestored(t *testing.T) {
	tt := newTaskTest(t)
	k := tt.open()
	put(t, k, "a", "", "task-1")
	put(t, k, "a", "x", "task-2")
	k = tt.open()
	has(t, k, "a", "", "task-1")
	has(t, k, "a", "x", "task-2")
	has(t, k, "a", "y", "")
	has(t, k, "b", "", "")
	put(t, k, "b", "", "task-3")
	for _, k := range []*tasks{k, tt.open()} {
		has(t, k, "b", "", "task-3")
		has(t, k, "b", "x", "")
		has(t, k, "a", "", "")
	}
	k.clear()
	if err := k.save(); err != nil {
		t.Fatal(err)
	}
	has(t, k, "b", "", "")
	has(t, tt.open(), "b", "", "")
}

func TestTasksAge(t *testing.T) {
	tt := newTaskTest(t)
	k := tt.open()
	put(t, k, "a", "", "task-1")
	due := func(k *tasks, label string, want bool) {
		t.Helper()
		if task, due, ok := k.get("a", label); due != want || !ok {
			t.Errorf("%s: task %q due: %v, %v; want %v", label, task.ID, due, ok, want)
		}
	}
	tt.at = tt.at.Add(renewTaskAge - taskAgeSpread - time.Second)
	due(tt.open(), "", false)
	put(t, k, "a", "x", "task-2")
	tt.at = tt.at.Add(taskAgeSpread + time.Second)
	for _, k := range []*tasks{k, tt.open()} {
		due(k, "", true)
		due(k, "x", false)
	}
	tt.at = tt.at.Add(maxTaskAge - renewTaskAge - time.Second)
	due(tt.open(), "", true)
	tt.at = tt.at.Add(time.Second)
	for _, k := range []*tasks{k, tt.open()} {
		has(t, k, "a", "", "")
		due(k, "x", true)
	}
	put(t, k, "a", "y", "task-3")
	if len(k.byLabel) != 2 {
		t.Errorf("%d tasks are remembered", len(k.byLabel))
	}
	// One from a time when the clock was ahead.
	tt.at = tt.at.Add(-renewTaskAge)
	due(tt.open(), "y", true)
	tt.at = tt.at.Add(-maxTaskAge)
	has(t, tt.open(), "a", "y", "")
}

// TestTaskAgesAreSpread: tasks that were registered together are replaced one by
// one.
func TestTaskAgesAreSpread(t *testing.T) {
	const n = 1200
	minutes := make(map[time.Duration]int)
	for i := range n {
		age := (&taskEntry{ID: fmt.Sprint("task-", i)}).renewAge()
		if age > renewTaskAge || age <= renewTaskAge-taskAgeSpread {
			t.Errorf("task %d is replaced after %s", i, age)
		}
		minutes[age.Truncate(time.Minute)]++
	}
	for minute, replaced := range minutes {
		if replaced > 4*n/120 {
			t.Errorf("%d of %d tasks are replaced within the minute %s", replaced, n, minute)
		}
	}
}

func TestTasksAreBounded(t *testing.T) {
	tt := newTaskTest(t)
	k := tt.open()
	for i := range maxTasks {
		tt.at = tt.at.Add(time.Millisecond)
		k.put(identity.Task{AgentRuntimeID: "a", ID: fmt.Sprint("task-", i)}, fmt.Sprint(i))
	}
	tt.at = tt.at.Add(time.Second)
	has(t, k, "a", "0", "task-0") // used last
	put(t, k, "a", "new", "task-new")
	for _, k := range []*tasks{k, tt.open()} {
		has(t, k, "a", "1", "")
		has(t, k, "a", "0", "task-0")
		has(t, k, "a", "2", "task-2")
		has(t, k, "a", "new", "task-new")
		if len(k.byLabel) != maxTasks {
			t.Errorf("%d tasks", len(k.byLabel))
		}
	}
	// Another process's do not make it more.
	other := tt.open()
	for i := range 10 {
		put(t, other, "a", fmt.Sprint("other-", i), "task")
	}
	put(t, k, "a", "newer", "task-newer")
	if len(k.byLabel) != maxTasks {
		t.Errorf("%d tasks", len(k.byLabel))
	}
}

func TestTasksOfTwoProcesses(t *testing.T) {
	tt := newTaskTest(t)
	one, two := tt.open(), tt.open()
	has(t, two, "a", "x", "") // both have looked
	put(t, one, "a", "x", "task-1")
	tt.at = tt.at.Add(time.Second)
	put(t, two, "a", "y", "task-2")
	put(t, two, "a", "x", "task-3") // later
	has(t, tt.open(), "a", "x", "task-3")
	has(t, tt.open(), "a", "y", "task-2")
	put(t, one, "a", "z", "task-4")
	has(t, one, "a", "x", "task-3")
	two.refuse(identity.Task{AgentRuntimeID: "a", ID: "task-3"}, "x")
	if err := two.save(); err != nil {
		t.Fatal(err)
	}
	has(t, two, "a", "x", "")
	has(t, tt.open(), "a", "x", "")
	has(t, two, "a", "z", "task-4")
	// Another identity: who comes to it takes over what is there.
	put(t, one, "b", "", "task-5")
	has(t, two, "b", "", "")
	two.reload("b")
	has(t, two, "b", "", "task-5")
	// Who has not come to it yet leaves it alone.
	three := tt.open()
	three.reload("a")
	has(t, three, "b", "", "task-5")
}

func TestTasksConcurrently(t *testing.T) {
	tt := newTaskTest(t)
	processes := []*tasks{tt.open(), tt.open(), tt.open()}
	var wg sync.WaitGroup
	for i, k := range processes {
		for j := range 30 {
			wg.Go(func() {
				label := fmt.Sprint(i, "-", j)
				k.put(identity.Task{AgentRuntimeID: "a", ID: label}, label)
				if err := k.save(); err != nil {
					t.Error(err)
				}
				has(t, k, "a", label, label)
			})
		}
	}
	wg.Wait()
	k := tt.open()
	for i := range processes {
		for j := range 30 {
			label := fmt.Sprint(i, "-", j)
			has(t, k, "a", label, label)
		}
	}
}

func TestTaskFileIsBroken(t *testing.T) {
	for _, content := range []string{"", "{", "[]", `{"tasks":[]}`, `{"agent_runtime_id":"a","tasks":{"":null,"x":{}}}`, strings.Repeat(" ", maxStateBytes+1)} {
		tt := newTaskTest(t)
		if err := os.MkdirAll(filepath.Dir(tt.path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(tt.path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		k := tt.open()
		has(t, k, "a", "", "")
		has(t, k, "a", "x", "")
		put(t, k, "a", "", "task-1")
		has(t, tt.open(), "a", "", "task-1")
		raw, err := os.ReadFile(tt.path)
		if err != nil || !json.Valid(raw) {
			t.Errorf("%q, %v", raw, err)
		}
		if info, err := os.Stat(tt.path); err != nil || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
			t.Errorf("%v, %v", info, err)
		}
	}
}

func TestTasksInMemory(t *testing.T) {
	for _, path := range []string{"", filepath.Join(os.DevNull, "state", "tasks.json")} {
		k := newTasks(path, time.Now, nil)
		k.put(identity.Task{AgentRuntimeID: "a", ID: "task-1"}, "")
		if err := k.save(); (err == nil) != (path == "") {
			t.Errorf("%q: %v", path, err)
		}
		has(t, k, "a", "", "task-1")
		k.refuse(identity.Task{AgentRuntimeID: "a", ID: "task-1"}, "")
		has(t, k, "a", "", "")
		if !k.isRefused(identity.Task{AgentRuntimeID: "a", ID: "task-1"}) {
			t.Error("it is not known that it was refused")
		}
	}
}

func TestRefusedTasksAreBounded(t *testing.T) {
	k := newTasks("", time.Now, nil)
	for i := range 3 * maxTasks {
		k.refuse(identity.Task{AgentRuntimeID: "a", ID: fmt.Sprint(i)}, "")
	}
	if len(k.refused) > maxTasks {
		t.Errorf("%d are remembered", len(k.refused))
	}
}

func TestPerLabelIsBounded(t *testing.T) {
	var l perLabel[retry.Cooldown]
	for i := range 5 * maxTasks {
		l.of(fmt.Sprint(i))
	}
	if len(l.byLabel) > maxTasks {
		t.Errorf("%d are remembered", len(l.byLabel))
	}
	if first := l.of("x"); first != l.of("x") {
		t.Error("one label has two")
	}
}

// TestTasksOfOthersStay has one client with more labels than tasks are kept, and then a network
// with more clients. They take no place of another's, nor of a label that is no client's in particular, nor after
// another process has read the file.
func TestTasksOfOthersStay(t *testing.T) {
	tt := newTaskTest(t)
	clientOf := func(label string) (network, client string) {
		client, _, ok := strings.Cut(label, "/")
		if !ok {
			return "", ""
		}
		network, _, _ = strings.Cut(client, ":")
		return network, client
	}
	open := func() *tasks { return newTasks(tt.path, func() time.Time { return tt.at }, clientOf) }
	k := open()
	others := []string{"quiet/1", "quiet/2", "proven"}
	put := func(label string) {
		k.put(identity.Task{AgentRuntimeID: "a", ID: "task of " + label}, label)
		tt.at = tt.at.Add(time.Millisecond)
	}
	for _, label := range others {
		put(label)
	}
	for i := range maxTasks {
		put(fmt.Sprintf("loud/%d", i))
		if i == maxTasks/2 {
			if err := k.save(); err != nil {
				t.Fatal(err)
			}
			k = open()
		}
	}
	if len(k.byLabel) != maxTasks {
		t.Errorf("%d tasks are kept", len(k.byLabel))
	}
	for _, label := range others {
		has(t, k, "a", label, "task of "+label)
	}
	has(t, k, "a", "loud/0", "")
	has(t, k, "a", fmt.Sprintf("loud/%d", maxTasks-1), fmt.Sprintf("task of loud/%d", maxTasks-1))

	// A network with as many clients as tasks are kept takes the place of those that had most, and
	// within it clients of theirs.
	put("wide:quiet/1")
	put("wide:quiet/2")
	for i := range 2 * maxTasks {
		put(fmt.Sprintf("wide:%d/1", i))
	}
	for _, label := range append(others, fmt.Sprintf("wide:%d/1", 2*maxTasks-1), fmt.Sprintf("loud/%d", maxTasks-1)) {
		has(t, k, "a", label, "task of "+label)
	}
	count := 0
	for _, e := range k.byLabel {
		if e.Network == "wide" {
			count++
		}
	}
	if count > maxTasks/2+1 {
		t.Errorf("one network has %d of %d tasks", count, maxTasks)
	}
}
