package identity

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agentproxy/agentproxy/identity/internal/identitytest"
)

func TestParseRecord(t *testing.T) {
	a := Record{WorkspaceID: "ws-1", UserID: "user-1", AgentRuntimeID: "agent-1", PrivateKey: identitytest.PrivateKey,
		RegisteredAt: "2026-04-15T00:00:00Z", TaskID: "task-1", Shape: ShapeA}
	c := a
	c.Email, c.PlanType, c.FedRAMP, c.Shape = "ada@example.com", "pro", true, ShapeC
	b := c
	b.TaskID, b.Shape, b.JWT, b.Expiry = "", ShapeB, Secret(identitytest.JWT(identitytest.AgentClaims)), time.Unix(1900000000, 0).UTC()
	quoted, err := json.Marshal(b.JWT.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	bare := Record{WorkspaceID: "w", AgentRuntimeID: "r", PrivateKey: "k", Shape: ShapeN}
	said := bare
	said.Protocol = ProtocolBackend
	for _, tt := range []struct {
		name, raw string
		want      Record
	}{
		{"A", identitytest.RecordA, a},
		{"B", b.JWT.Reveal(), b},
		{"B with space around", "\n" + b.JWT.Reveal() + "\n", b},
		{"B as JSON", string(quoted), b},
		{"C", identitytest.RecordC, c},
		{"C, background task first", strings.Replace(identitytest.RecordC, `"task_id":"task-1"`, `"task_id":"t","background_task_id":"task-1"`, 1), c},
		{"N", `{"account_id":"w","agent_runtime_id":"r","agent_private_key":"k"}`, bare},
		{"N of the first generation", `{"account_id":"w","agent_runtime_id":"r","agent_private_key":"k","protocol":"backend"}`, said},
	} {
		got, err := ParseRecord([]byte(tt.raw))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if diff := cmp.Diff(&tt.want, got, cmp.Transformer("", Secret.Reveal)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	for _, tt := range []struct{ raw, text string }{
		{"", "agent_identity: empty"},
		{"{", "agent_identity: ends in the middle"},
		{"null", "agent_identity.agent_runtime_id: missing"},
		{"[]", "agent_identity: expected object"},
		{"garbage", "agent_identity: not JSON"},
		{`"x"`, "agent_identity: not a JWT"},
		{"eyJ.e30", "agent_identity: not a JWT: expected three parts"},
		{strings.Replace(identitytest.RecordA, `"workspace_id":"ws-1",`, "", 1), "agent_identity.workspace_id: missing"},
		{strings.Replace(identitytest.RecordA, `{`, `{"protocol":"carrier pigeon",`, 1), `agent_identity.protocol: "carrier pigeon" is neither accounts nor backend`},
		{strings.Replace(identitytest.RecordA, identitytest.PrivateKey, "", 1), "agent_identity.agent_private_key: missing"},
		{identitytest.JWT(strings.Replace(identitytest.AgentClaims, "1900000000", `"x"`, 1)), "agent_identity: claims.exp: expected seconds"},
	} {
		identitytest.WantError(t, tt.text, func() error { _, err := ParseRecord([]byte(tt.raw)); return err })
	}
}

func TestBind(t *testing.T) {
	r, err := ParseRecord([]byte(identitytest.RecordC))
	if err != nil {
		t.Fatal(err)
	}
	full := Account{"ws-1", "user-1", "ada@example.com", "pro", true}
	for _, acct := range []Account{full, {WorkspaceID: "ws-1"}, {WorkspaceID: "ws-1", UserID: "user-1"}} {
		id, err := r.Bind(acct)
		if err != nil {
			t.Fatal(err)
		}
		if id.Account != full || id.AgentRuntimeID != "agent-1" || id.TaskID != "task-1" || id.RegisteredAt != "2026-04-15T00:00:00Z" ||
			id.Key.PublicKey() != mustKey(t).PublicKey() {
			t.Errorf("%+v", id)
		}
	}
	id, err := r.Bind(Account{"ws-1", "user-1", "new@example.com", "team", false})
	if err != nil || id.Account != (Account{"ws-1", "user-1", "new@example.com", "team", true}) {
		t.Errorf("%+v, %v", id, err)
	}

	nobody, badKey := *r, *r
	nobody.UserID, badKey.PrivateKey = "", "super-secret"
	for _, tt := range []struct {
		r    *Record
		acct Account
		is   error
		text string
	}{
		{r, Account{WorkspaceID: "ws-2"}, ErrOtherWorkspace, `agent identity "agent-1" belongs to another workspace: it is of "ws-1", wanted is "ws-2"`},
		{r, Account{}, ErrOtherWorkspace, `wanted is ""`},
		{&Record{}, Account{}, ErrOtherWorkspace, ``},
		{r, Account{WorkspaceID: "ws-1", UserID: "user-2"}, ErrOtherUser, `agent identity "agent-1" belongs to another user: it is of "user-1", wanted is "user-2"`},
		{&nobody, Account{WorkspaceID: "ws-1", UserID: "user-1"}, ErrOtherUser, `it is of "", wanted is "user-1"`},
		{&badKey, Account{WorkspaceID: "ws-1"}, ErrBadKey, `agent identity "agent-1" has an unusable private key: agent private key is not standard base64`},
	} {
		id, err := tt.r.Bind(tt.acct)
		if id != nil || !errors.Is(err, tt.is) {
			t.Errorf("%+v, %v", id, err)
		}
		identitytest.WantError(t, tt.text, func() error { return err })
		if err != nil && strings.Contains(err.Error(), "super-secret") {
			t.Errorf("the error shows the key: %v", err)
		}
	}
	if _, err := nobody.Bind(Account{WorkspaceID: "ws-1"}); err != nil {
		t.Error(err)
	}
}
