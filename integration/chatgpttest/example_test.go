package chatgpttest_test

import (
	"fmt"
	"io"
	"net/http"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// get asks the stand-in for the models, as Codex does, and returns the status.
func get(server *chatgpttest.Server, token string) string {
	request, err := http.NewRequest("GET", "https://chatgpt.com/backend-api/codex/models?client_version=0.171.0", nil)
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("ChatGPT-Account-ID", "account-123")
	response, err := server.Client().Do(request)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.Status
}

// The server answers whoever is logged in. Its client reaches it under the names of the
// real services.
func Example() {
	server := chatgpttest.NewServer()
	defer server.Close()
	login := server.Login(chatgpttest.Account{})

	fmt.Println(get(server, login.AccessToken))
	fmt.Println(get(server, "another token"))
	for _, r := range server.Requests() {
		fmt.Println(r.Method, r.Path, r.Status)
	}
	// Output:
	// 200 OK
	// 401 Unauthorized
	// GET /backend-api/codex/models 200
	// GET /backend-api/codex/models 401
}

// A fault has the server misbehave, here twice.
func ExampleServer_Inject() {
	server := chatgpttest.NewServer()
	defer server.Close()
	login := server.Login(chatgpttest.Account{})

	clear := server.Inject(chatgpttest.Fault{Path: "/backend-api/codex/*", Times: 2, Status: http.StatusServiceUnavailable})
	defer clear()
	for range 3 {
		fmt.Println(get(server, login.AccessToken))
	}
	// Output:
	// 503 Service Unavailable
	// 503 Service Unavailable
	// 200 OK
}
