package backend

import (
	"testing"

	"github.com/agentproxy/agentproxy/identity/internal/identitytest"
)

func TestURLVectors(t *testing.T) {
	var v struct {
		Normalize map[string]string            `json:"normalize_base_url"`
		Endpoints map[string]map[string]string `json:"endpoints"`
	}
	identitytest.ReadVectors(t, "urls.json", &v)
	for in, want := range v.Normalize {
		identitytest.Equal(t, in, NormalizeBaseURL(in), want)
		identitytest.Equal(t, "again "+in, NormalizeBaseURL(want), want)
		if err := CheckBaseURL(in); err != nil {
			t.Error(err)
		}
	}
	for base, want := range v.Endpoints {
		e := EndpointsFor(base)
		identitytest.Equal(t, base, e.RegisterAgent, want["register_agent"])
		identitytest.Equal(t, base, e.RegisterTask("agent-123"), want["register_task(agent-123)"])
		identitytest.Equal(t, base, e.Biscuit, want["biscuit"])
	}
	if len(v.Normalize)*len(v.Endpoints) == 0 {
		t.Error("a table is empty")
	}
}
