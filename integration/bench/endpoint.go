//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// endpoint says how clients reach the server by way of a program.
type endpoint struct {
	program string
	address string // that is connected to
	connect string // the authority that is asked for by CONNECT, "" for TLS at once
	host    string // the server's name within TLS and requests
	roots   *x509.CertPool
}

// connectTimeout bounds the way to a connection that is ready for requests.
// mitmproxy takes its time when many ask at once.
const connectTimeout = 30 * time.Second

// HTTP/1.1 and HTTP/2 as TLS names them.
const (
	alpnH1 = "http/1.1"
	alpnH2 = "h2"
)

// tlsConfig returns the client's side of TLS. All programs are offered the same
// key exchange, for not all of them know the newest, and the one is cheaper than
// the other.
func (e *endpoint) tlsConfig(alpn string) *tls.Config {
	return &tls.Config{
		MinVersion:       tls.VersionTLS12,
		RootCAs:          e.roots,
		ServerName:       e.host,
		NextProtos:       []string{alpn},
		CurvePreferences: []tls.CurveID{tls.X25519},
	}
}

// dial returns a connection to the server, by way of the program.
func (e *endpoint) dial(ctx context.Context, config *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := e.tunnel(ctx, e.connect)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	if got := conn.ConnectionState().NegotiatedProtocol; config.NextProtos[0] == alpnH2 && got != alpnH2 {
		conn.Close()
		return nil, fmt.Errorf("%s does not speak h2", e.program)
	}
	return conn, nil
}

// tunnel returns a connection to the program, after CONNECT to authority unless
// that is "".
func (e *endpoint) tunnel(ctx context.Context, authority string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", e.address)
	if err != nil || authority == "" {
		return conn, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := connect(conn, authority); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func connect(conn net.Conn, authority string) error {
	if _, err := fmt.Fprintf(conn, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", authority); err != nil {
		return err
	}
	// Nothing follows the answer before the client has spoken.
	var buffer [4096]byte
	n := 0
	for !bytes.HasSuffix(buffer[:n], []byte("\r\n\r\n")) {
		m, err := conn.Read(buffer[n:])
		n += m
		if err != nil {
			return fmt.Errorf("CONNECT %s: %w", authority, err)
		}
		if n == len(buffer) {
			return errors.New("CONNECT: the answer is too long")
		}
	}
	if !bytes.HasPrefix(buffer[:n], []byte("HTTP/1.1 200 ")) && !bytes.HasPrefix(buffer[:n], []byte("HTTP/1.0 200 ")) {
		line, _, _ := bytes.Cut(buffer[:n], []byte("\r\n"))
		return fmt.Errorf("CONNECT %s: %s", authority, line)
	}
	return nil
}

// authority is what a request's Host header says.
func (e *endpoint) authority() string {
	if e.connect != "" && e.host != chatgptHost {
		return e.connect
	}
	return e.host
}

// get returns the body of one answer.
func (e *endpoint) get(ctx context.Context, path string) (string, error) {
	c, err := e.newH1(ctx, "GET", path)
	if err != nil {
		return "", err
	}
	defer c.close()
	_ = c.conn.SetDeadline(time.Now().Add(connectTimeout))
	if _, err := c.conn.Write(c.request); err != nil {
		return "", err
	}
	a, err := readAnswer(c.reader)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(a.body(c.reader))
	return string(body), err
}
