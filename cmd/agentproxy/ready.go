package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// readyTimeout bounds the wait for the proxy's answer. It may have to register a
// task first.
const readyTimeout = 15 * time.Second

// checkReady asks the running proxy of the configuration, by its admin listener,
// whether it can sign. The error is the proxy's reason, or why it did not answer.
func (c *command) checkReady(ctx context.Context) error {
	config, err := loadConfig(c.configPath, c.env)
	if err != nil {
		return err
	}
	network, address, err := adminAddress(config.Admin)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/readyz", nil)
	if err != nil {
		return err
	}
	if token := config.adminEntrance.token; token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("the admin listener at %s does not answer: %w; is agentproxy serve running with this configuration?", config.Admin, syscallError(err))
	}
	defer response.Body.Close()
	var answer struct{ Message, Signs string }
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&answer); err != nil {
		return fmt.Errorf("what answers at %s is not agentproxy: status %s; look at admin", config.Admin, response.Status)
	}
	if response.StatusCode != http.StatusOK {
		return errors.New("not ready: " + answer.Message)
	}
	_, err = fmt.Fprintf(c.stdout, "ready, signs with %s\n", answer.Signs)
	return err
}

// adminAddress returns where the admin listener is found from this machine.
func adminAddress(admin string) (network, address string, err error) {
	if admin == "" {
		return "", "", &usageError{errors.New("admin is off, so the proxy cannot be asked; set admin to an address or unix:/path")}
	}
	network, address, err = listenAddress(admin)
	if err != nil || network == "unix" {
		return network, address, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", "", err
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return network, net.JoinHostPort(host, port), nil
}
