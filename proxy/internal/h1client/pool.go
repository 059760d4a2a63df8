package h1client

import (
	"slices"
	"sync"
	"time"
)

// The connections to servers over HTTP/1.1.
const (
	// MaxPerHost bounds those to one host, in use or kept. What is more goes
	// over HTTP/2, where a thousand streams share a few connections.
	MaxPerHost = 128
	// maxIdleUpstream bounds those that are kept.
	maxIdleUpstream     = 2048
	idleUpstreamTimeout = 90 * time.Second
)

// maxH2Only bounds the hosts that are known not to speak HTTP/1.1.
const maxH2Only = 1000

// connPool keeps connections between requests. No goroutine waits on them: whether one
// is alive is found out when it is taken.
type connPool struct {
	mu     sync.Mutex
	open   map[string]int           // by host:port, in use or kept
	idle   map[string][]*serverConn // those that are kept, the last used at the end
	n      int                      // of all hosts
	sweep  *time.Timer              // nil while there is nothing to be swept
	h2Only map[string]bool
}

func newPool() *connPool {
	return &connPool{open: make(map[string]int), idle: make(map[string][]*serverConn), h2Only: make(map[string]bool)}
}

// take returns a connection to host that is alive, nil if there is none.
func (p *connPool) take(host string) *serverConn {
	for {
		p.mu.Lock()
		conns := p.idle[host]
		if len(conns) == 0 {
			p.mu.Unlock()
			return nil
		}
		c := conns[len(conns)-1]
		p.drop(host, len(conns)-1)
		p.mu.Unlock()
		if time.Since(c.since) < idleUpstreamTimeout && c.alive() {
			c.reused = true
			return c
		}
		c.close()
	}
}

// reserve reserves room for a new connection to host. It reports false if there is none.
func (p *connPool) reserve(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[host] >= MaxPerHost {
		return false
	}
	p.open[host]++
	return true
}

// release frees what was reserved.
func (p *connPool) release(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[host]--; p.open[host] == 0 {
		delete(p.open, host)
	}
}

// drop removes a connection from those to host.
func (p *connPool) drop(host string, i int) {
	p.idle[host] = slices.Delete(p.idle[host], i, i+1)
	p.n--
}

// put keeps c for the next request, and reports whether there was room for it.
func (p *connPool) put(c *serverConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	conns := p.idle[c.host]
	if p.n >= maxIdleUpstream {
		return false
	}
	c.since = time.Now()
	p.idle[c.host] = append(conns, c)
	p.n++
	if p.sweep == nil {
		p.sweep = time.AfterFunc(idleUpstreamTimeout, p.closeOld)
	}
	return true
}

// closeOld closes the connections that were not used for long, and calls itself later
// while there are others.
func (p *connPool) closeOld() {
	for _, c := range p.expired(time.Now().Add(-idleUpstreamTimeout)) {
		c.close()
	}
}

// expired removes and returns the connections that were not used after a time. Those of
// a host are in the order of their last use.
func (p *connPool) expired(after time.Time) (old []*serverConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for host, conns := range p.idle {
		for len(conns) > 0 && !conns[0].since.After(after) {
			old = append(old, conns[0])
			p.drop(host, 0)
			conns = p.idle[host]
		}
		if len(conns) == 0 {
			delete(p.idle, host)
		}
	}
	if p.sweep != nil {
		p.sweep.Stop()
		p.sweep = nil
	}
	if p.n > 0 {
		p.sweep = time.AfterFunc(idleUpstreamTimeout/2, p.closeOld)
	}
	return old
}

// closeIdle closes all connections that are kept, and forgets what is known of hosts.
func (p *connPool) closeIdle() {
	for _, c := range p.expired(time.Now().Add(time.Hour)) {
		c.close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.h2Only)
}

// noteH2Only remembers that host does not speak HTTP/1.1.
func (p *connPool) noteH2Only(host string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.h2Only) >= maxH2Only {
		clear(p.h2Only)
	}
	p.h2Only[host] = true
}

// refusesH1 reports whether host is known not to speak HTTP/1.1.
func (p *connPool) refusesH1(host string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.h2Only[host]
}
