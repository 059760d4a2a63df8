package history

import (
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/proxy"
)

const (
	// span is the time whose requests are counted together.
	span = 10 * time.Second
	// spans is how many of them are kept.
	spans = 60
)

// Rates are the requests that ended in each span of the last minutes, the latest last.
type Rates struct {
	SpanSeconds int    `json:"span_seconds"`
	Requests    Series `json:"requests"`
	// Failed are those of them that the proxy refused or cut, or the server failed to serve.
	Failed Series `json:"failed"`
	// FirstByte are the mean times from a request to the header of its response, in
	// milliseconds; 0 where there was none.
	FirstByte Series `json:"first_byte_ms"`
}

// Counter counts requests by the time of their end. The zero value is ready to use. It is
// safe for concurrent use.
type Counter struct {
	mu    sync.Mutex
	spans [spans]count
}

// count is what was counted in a span.
type count struct {
	number           int64 // of the span, since 1970
	requests, failed int
	answered         int
	firstByte        time.Duration // of all that were answered
}

// Add counts an outcome, if the log would have it at level info.
func (c *Counter) Add(o *proxy.Outcome) {
	if !o.Logged {
		return
	}
	number := spanOf(o.Time.Add(o.Duration))
	c.mu.Lock()
	defer c.mu.Unlock()
	n := &c.spans[number%spans]
	switch {
	case n.number < number:
		*n = count{number: number}
	case n.number > number: // it ended before all that is kept
		return
	}
	n.requests++
	if failed(o.Refused, o.Failure, o.Status) {
		n.failed++
	}
	if o.Refused == "" && o.Status != 0 {
		n.answered++
		n.firstByte += o.FirstByte
	}
}

// Rates returns what was counted until a time.
func (c *Counter) Rates(now time.Time) Rates {
	r := Rates{SpanSeconds: int(span / time.Second), Requests: make(Series, spans), Failed: make(Series, spans), FirstByte: make(Series, spans)}
	last := spanOf(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range int64(spans) {
		number := last - spans + 1 + i
		if n := c.spans[max(number, 0)%spans]; n.number == number {
			r.Requests[i], r.Failed[i] = n.requests, n.failed
			if n.answered > 0 {
				r.FirstByte[i] = int((n.firstByte / time.Duration(n.answered)).Milliseconds())
			}
		}
	}
	return r
}

func spanOf(t time.Time) int64 { return max(t.Unix(), 0) / int64(span/time.Second) }

// Minutes returns how many minutes the rates are of.
func (r Rates) Minutes() int { return len(r.Requests) * r.SpanSeconds / 60 }
