package proxy

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/agentproxy/agentproxy/certs"
)

// newBackendWith starts a server whose certificates are a's.
func newBackendWith(t testing.TB, a *certs.Authority) string {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return a.Leaf(hello.ServerName)
	}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// dialUnresolved dials where no name is known at all, and broken.invalid cannot be
// asked for.
func dialUnresolved(ctx context.Context, by *net.Dialer, address string) (net.Conn, error) {
	unresolved := *by
	unresolved.Resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go answerNoSuchName(server)
		return client, nil
	}}
	return unresolved.DialContext(ctx, "tcp", address)
}

// answerNoSuchName answers one query as over TCP, where a length goes first.
func answerNoSuchName(c net.Conn) {
	defer c.Close()
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return
	}
	message := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(c, message); err != nil {
		return
	}
	const question = 12 // where the first question begins, with its first label's length
	code := byte(3)     // no such name
	if string(message[question+1:question+7]) == "broken" {
		code = 2 // the server failed
	}
	message[2] |= 0x80 // this is an answer
	message[3] = message[3]&0xf0 | code
	binary.BigEndian.PutUint16(message[10:], 0) // no additional record
	end := question
	for message[end] != 0 {
		end += int(message[end]) + 1
	}
	message = message[:end+5]
	binary.BigEndian.PutUint16(length[:], uint16(len(message)))
	_, _ = c.Write(append(length[:], message...))
}
