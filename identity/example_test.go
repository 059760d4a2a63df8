package identity_test

import (
	"fmt"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

const record = `{
	"workspace_id": "ws-1",
	"agent_runtime_id": "agent-123",
	"agent_private_key": "MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH",
	"registered_at": "2026-03-23T12:00:00Z"
}`

// A record becomes an identity once it is bound to the account that is logged in. The
// identity signs assertions, of which the header authorises a request.
func Example() {
	r, err := identity.ParseRecord([]byte(record))
	if err != nil {
		fmt.Println(err)
		return
	}
	id, err := r.Bind(identity.Account{WorkspaceID: "ws-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	task := identity.Task{AgentRuntimeID: "agent-123", ID: "task-456"}
	assertion, err := id.Assert(task, time.Date(2026, 3, 23, 12, 0, 0, 0, time.UTC))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(assertion.Header()[:22] + "…")
	fmt.Println(string(assertion.Envelope()))
	// Output:
	// AgentAssertion eyJhZ2V…
	// {"agent_runtime_id":"agent-123","signature":"YSrFiYCYgQ6Zs8zEMXGSKJnMBQEseiFuKMY9sz8goCidHSVCeKIL6tGzSOr6hjEm1TV9z53/YZmMrzXVjg67BA==","task_id":"task-456","timestamp":"2026-03-23T12:00:00Z"}
}

// A record of another workspace is refused.
func ExampleRecord_Bind() {
	r, err := identity.ParseRecord([]byte(record))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = r.Bind(identity.Account{WorkspaceID: "ws-2"})
	fmt.Println(err)
	// Output: agent identity "agent-123" belongs to another workspace: it is of "ws-1", wanted is "ws-2"
}

// A key shows its public half alone, however it is printed.
func ExampleKey() {
	key, err := identity.ParseKey("MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%v\n", key)
	// Output: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs
}

// A secret is shown by Reveal and nothing else.
func ExampleSecret() {
	token := identity.Secret("eyJhbGciOi…")
	fmt.Printf("%v %+q %x\n", token, token, token)
	// Output: [redacted] [redacted] [redacted]
}
