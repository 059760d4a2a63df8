package proxy

import (
	"iter"

	"github.com/agentproxy/agentproxy/proxy/internal/failure"
	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// cutRevoked cuts the running exchanges that could not begin any more: requests, streams,
// WebSockets and tunnels whose client would not be admitted, or whose label or host would
// be refused. All that a connection carries has the same grounds, so that it is closed.
func (p *Proxy) cutRevoked() {
	pol := p.policies.hold()
	defer pol.release()
	pol.clients.Refresh() // while nothing is locked, for it may read a file
	p.live.set.Locked(func(all iter.Seq[live.Exchange]) {
		var revoked []*exchange
		for e := range all {
			x, reason := e.(*exchange), ""
			if x.refused.Load() != nil {
				continue // its client is about to be told why
			}
			if x.admission.Check(pol.clients) != nil {
				reason = "cut because the client would not be let in any more"
			} else if refused := pol.checkAgain(x); refused != nil {
				reason = "cut because it would be refused now: " + refused.Code
			}
			if reason != "" {
				x.cut.CompareAndSwap(nil, new(reason)) // a copy, so that nothing is allocated for the others
				revoked = append(revoked, x)
			}
		}
		// When each has its reason: one may end with another's connection.
		for _, x := range revoked {
			x.closeConns()
		}
	})
}

// checkAgain refuses a running exchange that pol would not let begin.
func (pol *policy) checkAgain(x *exchange) *refuse.Refusal {
	if x.policy == pol {
		return nil
	}
	profile, refused := pol.profileOf(x.label)
	switch {
	case refused != nil:
		return refused
	case x.kind == KindRequest && !pol.Intercept.Match(x.target.Host, x.target.Port):
		return failure.NotIntercepted(x.target)
	case x.kind == KindRequest:
		return profile.checkHost(x.target)
	case pol.Intercept.MatchHost(x.target.Host): // and not to be sent unseen
		return failure.NotIntercepted(x.target)
	}
	return pol.checkOther(profile, x.target)
}
