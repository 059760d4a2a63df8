// Package ratelimit bounds what clients of a session label, and all clients of a
// profile together, ask for: requests in a minute, and streams at a time.
package ratelimit

import (
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// Limits are what clients may ask for. 0 is no limit.
type Limits struct {
	// RequestsPerMinute bounds the requests of any minute.
	RequestsPerMinute int
	// Streams bounds the answers of the model and the WebSockets that run at the same
	// time.
	Streams int
}

// maxRequests is the most that a limit can be. Beyond it a limit has no effect.
const maxRequests = 1_000_000

// Validate returns an error if a limit cannot be one, and its key.
func (l Limits) Validate() (key string, err error) {
	for _, c := range []struct {
		key   string
		value int
	}{{"requests_per_minute", l.RequestsPerMinute}, {"streams", l.Streams}} {
		if c.value < 0 || c.value > maxRequests {
			return c.key, fmt.Errorf("%d is not a limit; give 1 to %d, or 0 for none", c.value, maxRequests)
		}
	}
	return "", nil
}

// Rules are the limits of the clients of a profile.
type Rules struct {
	// PerLabel are those of each session label, unless one of Labels matches it.
	PerLabel Limits
	// Labels are those of certain labels. The first that matches holds.
	Labels []LabelRule
	// Total are those of all clients of the profile together.
	Total Limits
}

// LabelRule has the limits of each label that it matches.
type LabelRule struct {
	Labels access.LabelPatterns
	Limits
}

// of returns the limits of one label.
func (r *Rules) of(label string) Limits {
	for i := range r.Labels {
		if r.Labels[i].Labels.Match(label) {
			return r.Labels[i].Limits
		}
	}
	return r.PerLabel
}

// Client is whose requests are counted.
type Client struct {
	Label   string // session label
	Profile string // the name, "" for clients without one
}

// maxLabels bounds the labels that are counted each by itself. Clients may choose
// theirs; those of further labels are counted together.
const maxLabels = 10_000

// Limiter counts. Its methods may be called concurrently, and none of them waits.
type Limiter struct {
	now  func() time.Time
	born time.Time

	mu       sync.Mutex
	labels   map[string]*count
	profiles map[string]*count // of which the configuration names few
	others   count             // of the labels beyond maxLabels
	swept    int64             // the slot in which labels were last forgotten
	sweepAt  int               // so many labels are looked through for ones to forget
}

// count is what a label, or a profile, has asked for.
type count struct {
	requests window
	streams  int
}

// New returns a limiter that has counted nothing. now is the clock.
func New(now func() time.Time) *Limiter {
	return &Limiter{now: now, born: now(), labels: make(map[string]*count), profiles: make(map[string]*count), sweepAt: minSweep}
}

// minSweep is the least number of labels that is looked through.
const minSweep = 256

// Request counts a request, or refuses it. What is refused is not counted.
func (l *Limiter) Request(c Client, rules *Rules) *refuse.Refusal {
	own := rules.of(c.Label).RequestsPerMinute
	if own == 0 && rules.Total.RequestsPerMinute == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.clock()
	label, profile := l.label(c.Label, now), l.profile(c.Profile)
	if wait, ok := label.requests.room(now, own); !ok {
		return refuseRequest(wait, "clients of the label %q have sent %d requests in a minute, which is all that requests_per_minute allows them", c.Label, own)
	}
	if wait, ok := profile.requests.room(now, rules.Total.RequestsPerMinute); !ok {
		return refuseRequest(wait, "%s have sent %d requests in a minute, which is all that total_requests_per_minute allows them", c.group(), rules.Total.RequestsPerMinute)
	}
	label.requests.add(now)
	profile.requests.add(now)
	return nil
}

// Stream counts a stream until done is called, which may be called more than once, or
// refuses it.
func (l *Limiter) Stream(c Client, rules *Rules) (done func(), refused *refuse.Refusal) {
	own := rules.of(c.Label).Streams
	if own == 0 && rules.Total.Streams == 0 {
		return func() {}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	label, profile := l.label(c.Label, l.clock()), l.profile(c.Profile)
	if own != 0 && label.streams >= own {
		return nil, refuseStream("clients of the label %q have %d streams open, which is all that limits.streams allows them", c.Label, own)
	}
	if most := rules.Total.Streams; most != 0 && profile.streams >= most {
		return nil, refuseStream("%s have %d streams open, which is all that limits.total_streams allows them", c.group(), most)
	}
	label.streams++
	profile.streams++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		label.streams--
		profile.streams--
	}), nil
}

// group names all clients of c's profile.
func (c Client) group() string {
	if c.Profile == "" {
		return "all clients without a profile together"
	}
	return "all clients of profile " + c.Profile + " together"
}

// label returns the count of a label, which is kept while there is something in it.
func (l *Limiter) label(name string, now int64) *count {
	if c := l.labels[name]; c != nil {
		return c
	}
	l.sweep(now)
	if len(l.labels) >= maxLabels {
		return &l.others
	}
	c := new(count)
	l.labels[name] = c
	return c
}

func (l *Limiter) profile(name string) *count {
	c := l.profiles[name]
	if c == nil {
		c = new(count)
		l.profiles[name] = c
	}
	return c
}

// sweep forgets the labels of which nothing counts any more, if there are twice as
// many as were left the last time.
func (l *Limiter) sweep(now int64) {
	if len(l.labels) < l.sweepAt || l.swept == now {
		return
	}
	l.swept = now
	maps.DeleteFunc(l.labels, func(_ string, c *count) bool { return c.streams == 0 && c.requests.empty(now) })
	l.sweepAt = min(max(minSweep, 2*len(l.labels)), maxLabels)
}

// clock returns the number of the present slot, counted from 1 on.
func (l *Limiter) clock() int64 { return int64(l.now().Sub(l.born)/slot) + 1 }

// streamRetry is when a client may look for room for a stream again: nobody knows when
// one ends.
const streamRetry = 5 * time.Second

func refuseRequest(wait time.Duration, format string, args ...any) *refuse.Refusal {
	r := refuse.New(http.StatusTooManyRequests, "too_many_requests", "http_request_denied",
		format+"; send the next one in %d seconds, or raise the limit of agentproxy", append(args, refuse.Seconds(wait))...)
	r.RetryAfter = wait
	return r
}

func refuseStream(format string, args ...any) *refuse.Refusal {
	r := refuse.New(http.StatusTooManyRequests, "too_many_streams", "http_request_denied",
		format+"; wait for one to end, or raise the limit of agentproxy", args...)
	r.RetryAfter = streamRetry
	return r
}
