package agent_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/identity/store"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// An agent registers itself and a task when it is first asked for a session. Here a
// stand-in answers in the backend's place.
func Example() {
	if err := signIn(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// GET /backend-api/codex/models: 200 OK
	// kept in identity.json
}

func signIn(ctx context.Context) error {
	server := chatgpttest.NewServer()
	defer server.Close()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	login := server.Login(chatgpttest.Account{}) // as codex login leaves it
	if err := os.WriteFile(filepath.Join(dir, "auth.json"), login.AuthJSON(), 0o600); err != nil {
		return err
	}

	transport := server.Client().Transport
	kept := store.NewFile(filepath.Join(dir, "identity.json"))
	a := agent.New(agent.Config{
		Home:  codex.OpenHome(dir),
		Store: kept,
		Backend: backend.New(backend.Config{
			BaseURL: "https://chatgpt.com/backend-api", Transport: transport,
			ABOM: backend.NewABOM("1.0", "linux"),
		}),
		Register: true,
	})
	defer a.Close()
	session, err := a.Session(ctx, "build-42")
	if err != nil {
		return err
	}
	assertion, err := session.Identity.Assert(session.Task, time.Now().Add(session.ClockOffset))
	if err != nil {
		return err
	}

	request, err := http.NewRequestWithContext(ctx, "GET", "https://chatgpt.com/backend-api/codex/models", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", assertion.Header())
	request.Header.Set("ChatGPT-Account-ID", session.Identity.Account.WorkspaceID)
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	fmt.Printf("%s %s: %s\n", request.Method, request.URL.Path, response.Status)
	fmt.Println("kept in", filepath.Base(kept.String()))
	return nil
}
