package proxy

import "time"

// revocationInterval is how often it is looked whether those whose exchanges are
// under way would still be let in.
const revocationInterval = 500 * time.Millisecond

// cutRevoked cuts what clients have under way who would not be let in any more, until
// the proxy is being stopped: requests, streams, WebSockets and tunnels. All of a
// client's connection was let in at once, so the connection is closed.
func (p *Proxy) cutRevoked() {
	ticker := time.NewTicker(revocationInterval)
	defer ticker.Stop()
	var all []*exchange
	for {
		select {
		case <-p.life.ctx.Done():
			return
		case <-ticker.C:
		}
		all = p.live.appendAdmitted(all[:0])
		for _, x := range all {
			if x.admission.Check(p.current().clients) != nil {
				x.revoked.Store(true)
				_ = x.client.Close()
			}
		}
		clear(all)
	}
}

// appendAdmitted appends the exchanges whose client was let in to all.
func (l *live) appendAdmitted(all []*exchange) []*exchange {
	l.mu.Lock()
	defer l.mu.Unlock()
	for x := l.first; x != nil; x = x.after {
		if x.admission != nil && x.client != nil {
			all = append(all, x)
		}
	}
	return all
}
