package proxy

import (
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestPingsOfSilentClients pings a client that sends nothing.
func TestPingsOfSilentClients(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H1, nil)
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Limits.PingAfter = 10 * time.Millisecond })
	c := p.h2(t)
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			t.Fatalf("no ping came: %v", err)
		}
		if ping, ok := frame.(*http2.PingFrame); ok && !ping.IsAck() {
			return
		}
	}
}

// TestPings has the intervals of the configuration for both sides.
func TestPings(t *testing.T) {
	t.Parallel()
	for limit, want := range map[time.Duration]time.Duration{0: time.Minute, 7 * time.Second: 7 * time.Second, -1: 0} {
		p := startProxy(t, "", func(c *Config) { c.Limits.PingAfter = limit })
		if got := p.newServer(nil, nil).HTTP2.SendPingTimeout; got != want {
			t.Errorf("with %s it is %s, want %s", limit, got, want)
		}
	}
}
