package runner

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// maxRunLines bounds what a run's log says on the terminal.
const maxRunLines = 20

// runLog says what is logged while a command runs, in the words of this program's
// other messages and each thing once. Refusals are summed up at the end.
type runLog struct {
	say func(string)

	mu   sync.Mutex
	seen map[string]bool
}

// Write implements [io.Writer] for a log. p is an event in JSON.
func (l *runLog) Write(p []byte) (int, error) {
	var event struct {
		Level   string `json:"level"`
		Message string `json:"message"`
		Error   string `json:"error"`
	}
	level, _ := zerolog.ParseLevel("")
	if err := json.Unmarshal(p, &event); err == nil {
		level, _ = zerolog.ParseLevel(event.Level)
	}
	if level < zerolog.WarnLevel || event.Message == exchangeMessage {
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
	case l.seen[line] || len(l.seen) > maxRunLines:
	case len(l.seen) == maxRunLines:
		l.say("there is more to say; --log FILE keeps all of it")
		fallthrough
	default:
		if l.seen == nil {
			l.seen = make(map[string]bool)
		}
		if len(l.seen) < maxRunLines {
			l.say(line)
		}
		l.seen[line] = true
	}
	return len(p), nil
}

// exchangeMessage is the message of the access log's lines.
const exchangeMessage = "exchange"

// maxSummed is how many kinds of refusals are named when a command has ended.
const maxSummed = 3

// sumUp says what was refused while COMMAND ran.
func (r *runner) sumUp() {
	total, kinds := 0, []string(nil)
	for _, refusal := range r.refused.Latest() {
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
	r.messages.Warn(fmt.Sprintf("requests were refused: %s%s; --log FILE says why", strings.Join(kinds, ", "), rest))
}
