package access

import (
	"cmp"
	"math"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

const (
	// labelsWindow is the time in which a client may use as many new labels as it may have
	// at once.
	labelsWindow = time.Hour
	// maxLabelClients bounds the clients that a [LabelBook] knows. The one that has asked
	// for nothing for longest is forgotten.
	maxLabelClients = 4096
)

// LabelBook remembers which client uses which session labels, where clients choose them. It
// lets a client have a few at once, and others in their place now and then: each label costs
// a task at the backend, and a place where tasks are kept. It is safe for concurrent use.
type LabelBook struct {
	now func() time.Time

	mu      sync.Mutex
	clients map[string]*clientLabels // by name
	owners  map[string]string        // the client of each label
}

// clientLabels are the labels of a client.
type clientLabels struct {
	used  map[string]time.Time // when each was used last
	taken float64              // of the new labels that the client may use, at the time since
	since time.Time
	asked time.Time // the client has, last
}

// NewLabelBook returns an empty book.
func NewLabelBook(now func() time.Time) *LabelBook {
	return &LabelBook{now: now, clients: make(map[string]*clientLabels), owners: make(map[string]string)}
}

// ClientOf returns the client that has used a label, as [Peer.Client] names it. It is "" if
// none has, or if labels are not the clients' choice.
func (b *LabelBook) ClientOf(label string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.owners[label]
}

// Use notes that the client of a uses its label. It refuses a new label of a client that has
// used most of them lately.
func (b *LabelBook) Use(a *Admission, most int) *refuse.Refusal {
	if !a.chosen || a.Label == "" || a.peer == nil {
		return nil
	}
	client := cmp.Or(a.peer.Client(), "the Unix socket")
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.clients[client]
	if c == nil {
		b.makeRoom()
		c = &clientLabels{used: make(map[string]time.Time), since: now}
		b.clients[client] = c
	}
	c.asked = now
	if _, known := c.used[a.Label]; !known {
		if wait := c.take(now, most); wait > 0 {
			refused := refuse.Busy("%s has used as many session labels as limits.labels_per_client allows, which is %d, and may use another in %s; use one of them, raise it, or give labels by clients.tokens_file",
				client, most, wait.Round(time.Second))
			refused.RetryAfter = wait
			return refused
		}
		for len(c.used) >= most {
			b.forget(client, earliest(c.used, func(used time.Time) time.Time { return used }))
		}
	}
	c.used[a.Label] = now
	if _, taken := b.owners[a.Label]; !taken {
		b.owners[a.Label] = client
	}
	return nil
}

// take takes one of the new labels that a client may use. If there is none it returns how
// long the client must wait for one.
func (c *clientLabels) take(now time.Time, most int) (wait time.Duration) {
	each := labelsWindow / time.Duration(most)
	c.taken = math.Max(0, c.taken-float64(now.Sub(c.since))/float64(each))
	c.since = now
	if over := c.taken + 1 - float64(most); over > 0 {
		return time.Duration(math.Ceil(over * float64(each)))
	}
	c.taken++
	return 0
}

// earliest returns the key of the value with the earliest time, "" if there is none.
func earliest[V any](values map[string]V, at func(V) time.Time) (key string) {
	for k, v := range values {
		if key == "" || at(v).Before(at(values[key])) {
			key = k
		}
	}
	return key
}

// forget takes a label from a client.
func (b *LabelBook) forget(client, label string) {
	delete(b.clients[client].used, label)
	if b.owners[label] == client {
		delete(b.owners, label)
	}
}

// makeRoom forgets a client if there are too many.
func (b *LabelBook) makeRoom() {
	if len(b.clients) < maxLabelClients {
		return
	}
	quietest := earliest(b.clients, func(c *clientLabels) time.Time { return c.asked })
	for label := range b.clients[quietest].used {
		b.forget(quietest, label)
	}
	delete(b.clients, quietest)
}
