package access

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
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
	// networkClients is as many clients' new labels as those of one network may use: whoever
	// has a network of IPv6 is 65,536 clients there.
	networkClients = 16
)

// LabelBook remembers which client uses which session labels, where clients choose them. It
// lets a client have a few at once, and others in their place now and then: each label costs
// a task at the backend, and a place where tasks are kept. It is safe for concurrent use.
type LabelBook struct {
	now func() time.Time

	mu       sync.Mutex
	clients  map[string]*clientLabels  // by name
	networks map[string]*networkLabels // of the clients, by name
	owners   map[string]string         // the client of each label
}

// clientLabels are the labels of a client.
type clientLabels struct {
	used    map[string]time.Time // when each was used last
	pace    labelPace
	asked   time.Time // the client has, last
	network string
}

// networkLabels are the labels of the clients of a network.
type networkLabels struct {
	clients int
	pace    labelPace
}

// labelPace is how fast new labels are used.
type labelPace struct {
	taken float64 // of those that may be used, at the time since
	since time.Time
}

// NewLabelBook returns an empty book.
func NewLabelBook(now func() time.Time) *LabelBook {
	return &LabelBook{now: now, clients: make(map[string]*clientLabels), networks: make(map[string]*networkLabels), owners: make(map[string]string)}
}

// ClientOf returns the client that has used a label, as [Peer.Client] names it, and the network
// that it is in, which may be the client itself. They are "" if none has, or if labels are not
// the clients' choice.
func (b *LabelBook) ClientOf(label string) (network, client string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if client = b.owners[label]; client != "" {
		network = b.clients[client].network
	}
	return network, client
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
		c = &clientLabels{used: make(map[string]time.Time), pace: labelPace{since: now}, network: networkOf(client)}
		b.clients[client] = c
		b.join(c.network, now)
	}
	c.asked = now
	if _, known := c.used[a.Label]; !known {
		if refused := b.take(client, c, now, most); refused != nil {
			return refused
		}
		for len(c.used) >= most {
			b.forget(client, earliest(c.used))
		}
	}
	c.used[a.Label] = now
	if _, taken := b.owners[a.Label]; !taken {
		b.owners[a.Label] = client
	}
	return nil
}

// take takes one of the new labels that a client may use.
func (b *LabelBook) take(client string, c *clientLabels, now time.Time, most int) *refuse.Refusal {
	n := b.networks[c.network]
	who, wait := client, c.pace.wait(now, most)
	allowed := fmt.Sprintf("limits.labels_per_client allows, which is %d,", most)
	if ofAll := n.pace.wait(now, networkClients*most); ofAll > wait {
		who, wait = "the network "+c.network, ofAll
		allowed = fmt.Sprintf("limits.labels_per_client allows %d clients, which is %d for each,", networkClients, most)
	}
	if wait > 0 {
		refused := refuse.Busy("%s has used as many session labels as %s and may use another in %s; use one of them, raise it, or give labels by clients.tokens_file",
			who, allowed, wait.Round(time.Second))
		refused.RetryAfter = wait
		return refused
	}
	c.pace.taken++
	n.pace.taken++
	return nil
}

// wait returns how long it is to another new label if most may be used at once.
func (p *labelPace) wait(now time.Time, most int) time.Duration {
	each := labelsWindow / time.Duration(most)
	p.taken = math.Max(0, p.taken-float64(now.Sub(p.since))/float64(each))
	p.since = now
	if over := p.taken + 1 - float64(most); over > 0 {
		return time.Duration(math.Ceil(over * float64(each)))
	}
	return 0
}

// networkOf returns the network of a client, which may have many: for IPv6 that of 48 bits,
// which is what a site is given (RFC 6177). It is the client itself for all others.
func networkOf(client string) string {
	prefix, err := netip.ParsePrefix(client)
	if err != nil {
		return client
	}
	site, _ := prefix.Addr().Prefix(48) // valid for IPv6, of which alone clients are prefixes
	return site.String()
}

// join counts a client of a network.
func (b *LabelBook) join(network string, now time.Time) {
	n := b.networks[network]
	if n == nil {
		n = &networkLabels{pace: labelPace{since: now}}
		b.networks[network] = n
	}
	n.clients++
}

// earliest returns the label that was used least lately, "" if there is none.
func earliest(used map[string]time.Time) (label string) {
	for l, at := range used {
		if label == "" || at.Before(used[label]) {
			label = l
		}
	}
	return label
}

// forget takes a label from a client.
func (b *LabelBook) forget(client, label string) {
	delete(b.clients[client].used, label)
	if b.owners[label] == client {
		delete(b.owners, label)
	}
}

// makeRoom forgets a client if there are too many: of the networks with most clients, the one
// that has asked for nothing for longest.
func (b *LabelBook) makeRoom() {
	if len(b.clients) < maxLabelClients {
		return
	}
	most := 0
	for _, n := range b.networks {
		most = max(most, n.clients)
	}
	quietest := ""
	for name, c := range b.clients {
		if b.networks[c.network].clients == most && (quietest == "" || c.asked.Before(b.clients[quietest].asked)) {
			quietest = name
		}
	}
	c := b.clients[quietest]
	for label := range c.used {
		b.forget(quietest, label)
	}
	delete(b.clients, quietest)
	if n := b.networks[c.network]; n.clients > 1 {
		n.clients--
	} else {
		delete(b.networks, c.network)
	}
}
