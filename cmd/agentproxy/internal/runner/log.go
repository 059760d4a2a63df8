package runner

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/admin"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/proxy"
)

// maxRunLines bounds the lines of a run's log on the terminal.
const maxRunLines = 20

// runLog writes the warnings of a run's log as lines, each once. Refusals are summed up at
// the end.
type runLog struct {
	warn func(string)

	mu     sync.Mutex
	warned map[string]bool
}

// Write implements [io.Writer] for [app.NewWarnings]. p is an event in JSON.
func (l *runLog) Write(p []byte) (int, error) {
	var event struct {
		Message string `json:"message"`
		Error   string `json:"error"`
	}
	if json.Unmarshal(p, &event) != nil || event.Message == exchangeMessage {
		return len(p), nil
	}
	line := event.Message
	if event.Error != "" {
		line += ": " + event.Error
	}
	line = cli.Printable(line)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.warned[line] || len(l.warned) > maxRunLines:
	case len(l.warned) == maxRunLines:
		l.warn("there is more to say; --log FILE keeps all of it")
		fallthrough
	default:
		if l.warned == nil {
			l.warned = make(map[string]bool)
		}
		if len(l.warned) < maxRunLines {
			l.warn(line)
		}
		l.warned[line] = true
	}
	return len(p), nil
}

// exchangeMessage is the message of the access log's lines.
const exchangeMessage = "exchange"

// loginHost is where Codex logs in and out. With a placeholder it has nothing else to ask
// there.
const loginHost = "auth.openai.com:443"

// observer remembers the refusals, and whether COMMAND may have logged in or out.
type observer struct {
	*admin.Refusals
	login atomic.Bool
}

// Exchange implements [app.Observer].
func (o *observer) Exchange(outcome proxy.Outcome) {
	if outcome.Host == loginHost {
		o.login.Store(true)
	}
	o.Refusals.Exchange(outcome)
}

// maxSummed is how many kinds of refusals sumUp names.
const maxSummed = 3

// sumUp warns of what COMMAND tried in vain.
func (r *runner) sumUp() {
	if r.observer.login.Load() {
		r.messages.Warn("COMMAND tried to log in or out, or asked auth.openai.com for something else; Codex logs in and out outside of agentproxy run, in a shell of your own")
	}
	total, kinds, explained := 0, []string(nil), ""
	for _, refusal := range r.observer.Latest() {
		explained = cmp.Or(explained, refusal.Code)
		total += refusal.Count
		kind := fmt.Sprintf("%d × %s", refusal.Count, refusal.Code)
		if refusal.Host != "" {
			kind += " (" + cli.Printable(refusal.Host) + ")"
		}
		kinds = append(kinds, kind)
	}
	if total == 0 {
		return
	}
	rest := ""
	if len(kinds) > maxSummed {
		rest = fmt.Sprintf(", and %d more kinds", len(kinds)-maxSummed)
		kinds = kinds[:maxSummed]
	}
	r.messages.Warn(fmt.Sprintf("requests were refused: %s%s; agentproxy explain %s says what to do, --log FILE has them all", strings.Join(kinds, ", "), rest, explained))
}
