package agent_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestMarshalFor writes a record in each shape and reads it back, as a log-in of its
// own.
func TestMarshalFor(t *testing.T) {
	for _, test := range []struct {
		protocol identity.Protocol
		shape    identity.Shape
		want     identity.Protocol // that it is taken to be of
	}{
		{identity.ProtocolBackend, identity.ShapeA, identity.ProtocolBackend},
		{identity.ProtocolBackend, identity.ShapeC, identity.ProtocolBackend},
		{identity.ProtocolAccounts, identity.ShapeN, identity.ProtocolAccounts},
	} {
		r := newRig(t)
		r.login(chatgpttest.Account{})
		protocol := func(c *agent.Config) { c.Protocol = test.protocol }
		a := r.agent(protocol)
		s := r.session(a, "")
		record, err := a.Export(t.Context())
		if err != nil || record.Protocol != test.protocol {
			t.Fatalf("%+v, %v", record, err)
		}
		raw, err := record.MarshalFor(test.shape)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(r.home, "auth.json")); err != nil {
			t.Fatal(err)
		}
		if err := codex.OpenHome(r.home).WriteIdentity(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
		read, err := identity.ParseRecord(raw)
		if err != nil || read.Shape != test.shape {
			t.Errorf("%s: %+v, %v", test.shape, read, err)
		}
		again := r.session(r.agent(auto, func(c *agent.Config) { c.Store, c.StateDir = nil, "" }), "")
		if again.Task != s.Task || again.Identity.Protocol != test.want || again.Identity.Account.WorkspaceID != "account-123" || again.Identity.Account.UserID != "user-123" || r.accepts(again) != 200 {
			t.Errorf("%s: %+v of %+v, want %+v", test.shape, again.Task, again.Identity, s.Task)
		}
	}
	if _, err := (&identity.Record{}).MarshalFor(identity.ShapeB); err == nil {
		t.Error("a JWT is nobody's to write")
	}
}
