package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

const (
	// maxTasks bounds the tasks that are remembered.
	maxTasks = 1024
	// renewTaskAge is the age at which a task is due to be replaced. The backend keeps
	// one for about a day.
	renewTaskAge = 20 * time.Hour
	// taskAgeSpread is how much earlier a task may be due. Tasks that were registered
	// together are not replaced together.
	taskAgeSpread = 2 * time.Hour
	// maxTaskAge is the age from which a task is no longer used, although no other could
	// be registered. The backend has surely dropped it by then.
	maxTaskAge = 48 * time.Hour
)

// tasks holds the tasks of one agent, one for each session label, in a file. It is safe for
// concurrent use, and several processes may share the file.
type tasks struct {
	path     string // "" keeps them in memory only
	now      func() time.Time
	clientOf func(label string) (network, client string)

	mu        sync.Mutex
	loaded    bool
	runtimeID string
	byLabel   map[string]*taskEntry
	refused   map[identity.Task]bool
	refusals  map[string]refusal // by label; until another task is registered for it
	changes   int

	writing sync.Mutex // held while the file is written; taken before mu
	written int        // the changes that the file holds
}

type taskEntry struct {
	ID           string    `json:"task_id"`
	RegisteredAt time.Time `json:"registered_at"`
	UsedAt       time.Time `json:"used_at"`
	// Client is the one that uses the label, and Network the one that it is in, "" for none in
	// particular.
	Client  string `json:"client,omitempty"`
	Network string `json:"network,omitempty"`
}

// refusal notes that the backend has refused the last task of a label.
type refusal struct {
	AgentRuntimeID string    `json:"agent_runtime_id"`
	At             time.Time `json:"refused_at"`
}

// taskFile is the form of tasks.json.
type taskFile struct {
	AgentRuntimeID string                `json:"agent_runtime_id"`
	Tasks          map[string]*taskEntry `json:"tasks"`
	Refusals       map[string]refusal    `json:"refusals,omitempty"` // by label
}

func newTasks(path string, now func() time.Time, clientOf func(label string) (network, client string)) *tasks {
	if clientOf == nil {
		clientOf = func(string) (string, string) { return "", "" }
	}
	return &tasks{path: path, now: now, clientOf: clientOf, refused: make(map[identity.Task]bool), refusals: make(map[string]refusal)}
}

// get returns the task of an agent for a label, and reports whether it is due to be
// replaced.
func (t *tasks) get(runtimeID, label string) (task identity.Task, due, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.load()
	entry := t.byLabel[label]
	now := t.now()
	if t.runtimeID != runtimeID || entry == nil || !entry.usable(now) {
		return identity.Task{}, false, false
	}
	entry.UsedAt = now
	return identity.Task{AgentRuntimeID: runtimeID, ID: entry.ID}, entry.due(now), true
}

// registeredAt returns when the task of a label was registered, zero if the label has
// another.
func (t *tasks) registeredAt(task identity.Task, label string) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.load()
	entry := t.byLabel[label]
	if entry == nil || t.runtimeID != task.AgentRuntimeID || entry.ID != task.ID {
		return time.Time{}
	}
	return entry.RegisteredAt
}

// usable reports whether the backend may still know the task. A task from the future was
// registered under another clock.
func (e *taskEntry) usable(now time.Time) bool {
	return now.Sub(e.RegisteredAt).Abs() < maxTaskAge
}

// due reports whether the task is to be replaced.
func (e *taskEntry) due(now time.Time) bool {
	return now.Sub(e.RegisteredAt).Abs() >= e.renewAge()
}

// renewAge returns the age at which the task is replaced, the same in every
// process.
func (e *taskEntry) renewAge() time.Duration {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(e.ID)) // never fails
	return renewTaskAge - time.Duration(hash.Sum64()%uint64(taskAgeSpread))
}

// put remembers a task for a label, and drops the tasks of other agents.
func (t *tasks) put(task identity.Task, label string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.load()
	if t.runtimeID != task.AgentRuntimeID {
		t.runtimeID, t.byLabel = task.AgentRuntimeID, nil
		clear(t.refusals)
	}
	delete(t.refusals, label)
	if t.byLabel == nil {
		t.byLabel = make(map[string]*taskEntry)
	}
	now := t.now()
	network, client := t.clientOf(label)
	t.byLabel[label] = &taskEntry{task.ID, now, now, client, network}
	t.tidy()
	t.changes++
}

// tidy drops tasks that are too old, and those beyond the bound.
func (t *tasks) tidy() {
	now := t.now()
	maps.DeleteFunc(t.byLabel, func(_ string, e *taskEntry) bool { return !e.usable(now) })
	for len(t.byLabel) > maxTasks {
		t.dropOldest()
	}
	for len(t.refusals) > maxTasks {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(t.refusals)), func(a, b string) int {
			return t.refusals[a].At.Compare(t.refusals[b].At)
		})
		delete(t.refusals, oldest)
	}
}

// dropOldest drops, of the tasks of the client that has most in the network that has most, the
// one that was not used for longest. A label of no client in particular counts as a client.
func (t *tasks) dropOldest() {
	clients, networks := make(map[string]int), make(map[string]int)
	for _, e := range t.byLabel {
		if e.Client != "" {
			clients[e.Client]++
			networks[cmp.Or(e.Network, e.Client)]++
		}
	}
	before := func(a, b *taskEntry) int {
		return cmp.Or(
			cmp.Compare(max(networks[cmp.Or(b.Network, b.Client)], 1), max(networks[cmp.Or(a.Network, a.Client)], 1)),
			cmp.Compare(max(clients[b.Client], 1), max(clients[a.Client], 1)),
			a.UsedAt.Compare(b.UsedAt))
	}
	delete(t.byLabel, slices.MinFunc(slices.Collect(maps.Keys(t.byLabel)), func(a, b string) int { return before(t.byLabel[a], t.byLabel[b]) }))
}

// refuse forgets the task of a label, which the backend has refused, unless another has
// taken its place.
func (t *tasks) refuse(task identity.Task, label string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.load()
	t.noteRefusal(task, label)
	if len(t.refused) >= maxTasks {
		clear(t.refused)
	}
	t.refused[task] = true
	if entry := t.byLabel[label]; entry != nil && t.runtimeID == task.AgentRuntimeID && entry.ID == task.ID {
		delete(t.byLabel, label)
	}
	t.changes++
}

// keepRefused notes that the backend has refused the task of a label. The label keeps the
// task, for there is no other.
func (t *tasks) keepRefused(task identity.Task, label string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.load()
	t.noteRefusal(task, label)
	t.changes++
}

// noteRefusal notes a refusal, unless another task has taken the place of that one.
func (t *tasks) noteRefusal(task identity.Task, label string) {
	if entry := t.byLabel[label]; entry != nil && t.runtimeID == task.AgentRuntimeID && entry.ID != task.ID {
		return
	}
	t.refusals[label] = refusal{task.AgentRuntimeID, t.now()}
	t.tidy()
}

// lastRefused reports whether the backend has refused the last task that an agent
// had for a label.
func (t *tasks) lastRefused(runtimeID, label string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.load()
	last, ok := t.refusals[label]
	return ok && last.AgentRuntimeID == runtimeID
}

// isRefused reports whether the backend has refused a task since this process
// started.
func (t *tasks) isRefused(task identity.Task) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused[task]
}

// saveTimeout bounds the wait for another process that holds the file.
const saveTimeout = 5 * time.Second

// save writes the file, with what other processes have put there. Of many callers at a
// time, one writes for those that wait.
func (t *tasks) save() error {
	if t.path == "" {
		return nil
	}
	t.mu.Lock()
	changes := t.changes
	t.mu.Unlock()
	t.writing.Lock()
	defer t.writing.Unlock()
	if t.written >= changes {
		return nil
	}
	if err := t.write(); err != nil {
		return fmt.Errorf("keep the tasks: %w", err)
	}
	return nil
}

func (t *tasks) write() error {
	if err := os.MkdirAll(filepath.Dir(t.path), 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	unlock, err := safefile.Lock(ctx, filepath.Join(filepath.Dir(t.path), "tasks.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	t.mu.Lock()
	t.merge("")
	t.tidy()
	changes := t.changes
	raw, err := json.MarshalIndent(taskFile{t.runtimeID, t.byLabel, t.refusals}, "", "  ")
	t.mu.Unlock()
	if err != nil {
		return err
	}
	if err := safefile.Write(t.path, append(raw, '\n'), 0o600); err != nil {
		return err
	}
	t.written = changes
	return nil
}

// reload merges what other processes have written for an agent.
func (t *tasks) reload(runtimeID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.merge(runtimeID)
}

// load reads the file once.
func (t *tasks) load() {
	if !t.loaded {
		t.merge("")
	}
}

// merge adds what other processes have written for our agent, or for comingID, which is to
// become ours. Of two tasks for a label, the one that was registered later counts.
func (t *tasks) merge(comingID string) {
	file, err := readTaskFile(t.path)
	first := !t.loaded
	t.loaded = true
	if err != nil {
		return // nothing to take over; the next write replaces what cannot be read
	}
	if first || comingID != "" && comingID == file.AgentRuntimeID && comingID != t.runtimeID {
		t.runtimeID, t.byLabel = file.AgentRuntimeID, nil
	}
	if file.AgentRuntimeID != t.runtimeID {
		return
	}
	if t.byLabel == nil {
		t.byLabel = make(map[string]*taskEntry)
	}
	for label, entry := range file.Tasks {
		if t.refused[identity.Task{AgentRuntimeID: t.runtimeID, ID: entry.ID}] {
			continue
		}
		if own := t.byLabel[label]; own == nil || own.RegisteredAt.Before(entry.RegisteredAt) {
			t.byLabel[label] = entry
			if !entry.RegisteredAt.Before(t.refusals[label].At) {
				delete(t.refusals, label)
			}
		}
	}
	for label, theirs := range file.Refusals {
		if own := t.byLabel[label]; own != nil && !own.RegisteredAt.Before(theirs.At) {
			continue // it was replaced
		}
		if own, ok := t.refusals[label]; !ok || own.At.Before(theirs.At) {
			t.refusals[label] = theirs
		}
	}
}

func readTaskFile(path string) (taskFile, error) {
	raw, err := safefile.Read(path, maxStateBytes)
	if err != nil {
		return taskFile{}, err
	}
	return parseTaskFile(raw)
}

func parseTaskFile(raw []byte) (taskFile, error) {
	var file taskFile
	if err := json.Unmarshal(raw, &file); err != nil {
		return taskFile{}, err
	}
	maps.DeleteFunc(file.Tasks, func(_ string, e *taskEntry) bool { return e == nil || e.ID == "" })
	return file, nil
}

// clear forgets all tasks.
func (t *tasks) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.loaded, t.runtimeID, t.byLabel = true, "", nil
	clear(t.refusals)
	t.changes++
}
