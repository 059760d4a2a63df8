package signer_test

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"github.com/agentproxy/agentproxy/signer"
)

// Rules choose the signer of a request by its host, method and path.
func Example() {
	lookup := func(string) (string, bool) { return "eyJhbGci.e30.c2ln", true }
	noTokens, err := signer.NewRule(signer.Match{Methods: []string{"GET"}, Path: "/backend-api/public/**"}, signer.None{})
	if err != nil {
		fmt.Println(err)
		return
	}
	refused, err := signer.NewRule(signer.Match{Path: "/backend-api/payments/**"}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	s := signer.Rules{Rules: []signer.Rule{noTokens, refused}, Default: signer.NewTokenFromEnv("TOKEN", lookup, nil)}
	for _, path := range []string{"/backend-api/codex/models", "/backend-api/public/icon", "/backend-api/payments/plan"} {
		auth, err := s.Sign(context.Background(), signer.Request{Host: "chatgpt.com", Method: "GET", Path: path})
		if err != nil {
			fmt.Printf("%s: %s\n", path, signer.CodeOf(err))
			continue
		}
		fmt.Printf("%s: %s by %s\n", path, auth.Scheme, auth.Signer)
	}
	// Output:
	// /backend-api/codex/models: Bearer by token
	// /backend-api/public/icon: none by none
	// /backend-api/payments/plan: rule_refused
}

// A scope says which requests may carry a credential, and of which kind.
func ExampleScope_Decide() {
	scope, _, err := signer.NewScope(signer.ScopeConfig{
		BaseURL: "https://chatgpt.com/backend-api",
		Allow:   []signer.ScopeEntry{{Word: signer.WordCodex}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, path := range []string{"/backend-api/codex/responses", "/backend-api/codex/models", "/backend-api/conversations"} {
		method := "GET"
		if path == "/backend-api/codex/responses" {
			method = "POST"
		}
		d := scope.Decide(context.Background(), signer.Query{Host: "chatgpt.com", Port: "443", Method: method, Path: path})
		fmt.Printf("%s %s: allowed %t, kind %s, reason %q\n", method, path, d.Allowed(), d.Kind, d.Reason)
	}
	// Output:
	// POST /backend-api/codex/responses: allowed true, kind inference, reason ""
	// GET /backend-api/codex/models: allowed true, kind account, reason ""
	// GET /backend-api/conversations: allowed false, kind unknown, reason "path"
}

// The fields of a credential replace those of the client.
func ExampleAuthorization_SetHeader() {
	s := signer.NewTokenFromEnv("TOKEN", func(string) (string, bool) { return "secret", true }, nil)
	auth, err := s.Sign(context.Background(), signer.Request{Host: "chatgpt.com", Method: "GET", Path: "/backend-api/codex/models"})
	if err != nil {
		fmt.Println(err)
		return
	}
	header := http.Header{"Authorization": {"Bearer agentproxy-placeholder"}}
	auth.SetHeader(header)
	_ = header.Write(os.Stdout)
	// Output: Authorization: Bearer secret
}
