package admin

import (
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/proxy"
)

// maxRefusals bounds the refusals that are remembered.
const maxRefusals = 50

// Refusal is a kind of requests that were refused.
type Refusal struct {
	Last   time.Time `json:"last"`
	Count  int       `json:"count"` // since the first that is remembered
	Code   string    `json:"code"`
	Reason string    `json:"reason"` // and the remedy
	Client string    `json:"client,omitempty"`
	Host   string    `json:"host,omitempty"`
}

func (r Refusal) like(other Refusal) bool {
	return other.Code == r.Code && other.Client == r.Client && other.Host == r.Host
}

func (r Refusal) after(former Refusal) Refusal {
	r.Count += former.Count
	return r
}

func refusalOf(o proxy.Outcome) Refusal {
	return Refusal{
		Last: o.Time, Count: 1, Code: o.Refused,
		Reason: shorten(o.Reason), Client: shorten(o.Client), Host: shorten(o.Host),
	}
}

// Refusals is an [app.Observer] that remembers the last refusals and nothing else.
type Refusals struct {
	app.Unobserved
	recent recent[Refusal]
}

var _ app.Observer = (*Refusals)(nil)

// NewRefusals returns an observer that remembers nothing yet.
func NewRefusals() *Refusals { return &Refusals{recent: recent[Refusal]{most: maxRefusals}} }

// Exchange implements [app.Observer].
func (r *Refusals) Exchange(o proxy.Outcome) {
	if o.Refused != "" {
		r.recent.add(refusalOf(o))
	}
}

// Latest returns the refusals, the latest first.
func (r *Refusals) Latest() []Refusal { return r.recent.latest() }
