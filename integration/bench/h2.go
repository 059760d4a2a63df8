//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
)

// h2Client sends one request at a time on an HTTP/2 connection of its own.
type h2Client struct {
	conn    net.Conn
	h2      *http.ClientConn
	request *http.Request
}

var _ client = (*h2Client)(nil)

func (e *endpoint) newH2(ctx context.Context, path string) (*h2Client, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+e.authority()+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header = http.Header{
		"User-Agent": {"bench/1"}, "Accept": {"*/*"}, "Accept-Language": {"en"},
		"Originator": {"bench"}, "Session-Id": {"0123456789abcdef"}, "Authorization": {clientAuthorization},
	}
	conn, err := e.dial(ctx, e.tlsConfig(alpnH2))
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		DialTLSContext:     func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		ForceAttemptHTTP2:  true,
		DisableCompression: true,
	}
	h2, err := transport.NewClientConn(ctx, "https", e.address)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &h2Client{conn, h2, request}, nil
}

// do implements client.
func (c *h2Client) do() error {
	response, err := c.h2.RoundTrip(c.request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("status %s", response.Status)
	case response.ProtoMajor != 2:
		return fmt.Errorf("the answer came over %s", response.Proto)
	}
	return nil
}

// close implements client.
func (c *h2Client) close() { c.conn.Close() }
