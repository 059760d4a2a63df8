package main

import (
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/agentproxy/agentproxy/proxy"
)

const (
	// maxRefusals bounds the refusals that are remembered, which anybody who
	// reaches the proxy can cause.
	maxRefusals = 50
	// maxShown bounds, in bytes, what is remembered of words that a client may
	// have chosen.
	maxShown = 400
)

// refusal is what is remembered of requests that were refused in the same way.
type refusal struct {
	Last   time.Time `json:"last"`
	Count  int       `json:"count"` // since the first that is remembered
	Code   string    `json:"code"`
	Reason string    `json:"reason"` // and the remedy
	Client string    `json:"client,omitempty"`
	Host   string    `json:"host,omitempty"`
}

// refusals remembers the last refusals, the latest last. It is safe for
// concurrent use.
type refusals struct {
	mu   sync.Mutex
	list []refusal
}

// add notes that an exchange was refused.
func (rs *refusals) add(o proxy.Outcome) {
	r := refusal{
		Last: o.Time, Count: 1, Code: o.Refused,
		Reason: shorten(o.Reason), Client: shorten(o.Client), Host: shorten(o.Host),
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	same := func(other refusal) bool {
		return other.Code == r.Code && other.Client == r.Client && other.Host == r.Host
	}
	if i := slices.IndexFunc(rs.list, same); i >= 0 {
		r.Count += rs.list[i].Count
		rs.list = slices.Delete(rs.list, i, i+1)
	} else if len(rs.list) == maxRefusals {
		rs.list = slices.Delete(rs.list, 0, 1)
	}
	rs.list = append(rs.list, r)
}

// last returns the refusals, the latest first.
func (rs *refusals) last() []refusal {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	list := slices.Clone(rs.list)
	slices.Reverse(list)
	return list
}

// shorten cuts s to what is shown of it.
func shorten(s string) string {
	if len(s) <= maxShown {
		return s
	}
	end := maxShown
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
