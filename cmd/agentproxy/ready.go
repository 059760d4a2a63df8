package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
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
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var answer struct{ Message, Signs string }
	statusCode, err := config.askAdmin(ctx, "/readyz", &answer)
	if err != nil {
		return err
	}
	if statusCode != http.StatusOK {
		return errors.New("not ready: " + answer.Message)
	}
	_, err = fmt.Fprintf(c.stdout, "ready, signs with %s\n", answer.Signs)
	return err
}

// adminAddress returns where the admin listener is found from this machine.
func adminAddress(admin string) (network, address string, err error) {
	if admin == "" {
		return "", "", cli.Usagef("admin is off, so the proxy cannot be asked; set admin to an address or unix:/path")
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
