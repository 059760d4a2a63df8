package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// maxAdminAnswer bounds what is read of an admin listener's answer, in bytes.
const maxAdminAnswer = 4 << 20

// askAdmin asks the running proxy of the configuration for a path of its admin
// listener, and decodes the answer from JSON.
func (c *config) askAdmin(ctx context.Context, path string, answer any) (statusCode int, err error) {
	network, address, err := adminAddress(c.Admin)
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+path, nil)
	if err != nil {
		return 0, err
	}
	if token := c.adminEntrance.token; token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, fmt.Errorf("the admin listener at %s does not answer: %w; is agentproxy serve running with this configuration?", c.Admin, cli.SyscallError(err))
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAdminAnswer)).Decode(answer); err != nil {
		return 0, fmt.Errorf("what answers at %s is not agentproxy: status %s; look at admin", c.Admin, response.Status)
	}
	return response.StatusCode, nil
}
