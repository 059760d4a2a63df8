package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// get prints the answer to a request, over a socket of the file system if one
// is named.
func get(ts *testscript.TestScript, neg bool, args []string) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	if len(args) == 3 && args[0] == "-unix" {
		socket := ts.MkAbs(args[1])
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
		args = args[2:]
	}
	if neg || len(args) != 1 {
		ts.Fatalf("usage: get [-unix SOCKET] URL")
	}
	request, err := http.NewRequest(http.MethodGet, args[0], nil)
	ts.Check(err)
	response, err := transport.RoundTrip(request)
	ts.Check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n%s", response.Status, body)
}

// secretsOf returns what an auth.json or identity.json holds that nobody else
// may see.
func secretsOf(ts *testscript.TestScript, document string) []string {
	var root map[string]any
	ts.Check(json.Unmarshal([]byte(document), &root))
	var secrets []string
	var collect func(map[string]any)
	collect = func(object map[string]any) {
		for name, value := range object {
			switch value := value.(type) {
			case map[string]any:
				collect(value)
			case string:
				if value != "" && (strings.HasSuffix(name, "_token") || name == "agent_private_key") {
					secrets = append(secrets, value)
				}
			}
		}
	}
	collect(root)
	if len(secrets) == 0 {
		ts.Fatalf("there is no secret in that file")
	}
	return secrets
}
