package signer

import (
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

// BenchmarkSign signs in the same second and in a new one each time.
func BenchmarkSign(b *testing.B) {
	key, err := identity.GenerateKey()
	if err != nil {
		b.Fatal(err)
	}
	known := &sessions{identity: &identity.Identity{AgentRuntimeID: "agent-1", Key: key}}
	for name, step := range map[string]time.Duration{"same second": 0, "new second": time.Second} {
		b.Run(name, func(b *testing.B) {
			now := time.Now()
			s := NewAgentAssertion(known, func() time.Time { now = now.Add(step); return now })
			if step == 0 {
				s.CacheSessions(time.Hour)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Sign(b.Context(), Request{Host: "chatgpt.com", Path: "/backend-api/codex/models"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
