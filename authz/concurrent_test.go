package authz

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/agentproxy/agentproxy/proxy"
)

// TestAskedAtOnce has gateways of two kinds ask at once, for the race detector. What speaks by
// Envoy's own types and gRPC's client is not compiled with that, which takes a minute.
func TestAskedAtOnce(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- Serve(ctx, l, func() Config {
			return Config{LabelHeader: "X-Label", Authorize: func(_ context.Context, ask proxy.Ask) proxy.Answer {
				answer := granted()
				answer.Header.Set("X-Asked", ask.Label+" "+ask.URI)
				return answer
			}}
		})
	}()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", l.Addr().String())
		},
		Protocols: new(http.Protocols),
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer func() {
		transport.CloseIdleConnections()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	var asking sync.WaitGroup
	for i := range 16 {
		asking.Go(func() {
			kind, ask := "Envoy's HTTP", askHTTP
			if i%2 == 0 {
				kind, ask = "gRPC", askGRPC
			}
			label, path := fmt.Sprintf("build-%d", i), fmt.Sprintf("/backend-api/%d", i)
			r, err := ask(label, path)
			if err != nil {
				t.Error(err)
				return
			}
			response, err := transport.RoundTrip(r.WithContext(t.Context()))
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			answer := fmt.Sprintf("%s %v %q %v", response.Status, response.Header, body, response.Trailer)
			if err != nil || !strings.Contains(answer, label+" "+path) || kind == "gRPC" && response.Trailer.Get("Grpc-Status") != "0" {
				t.Errorf("%s: %s, %v", kind, answer, err)
			}
		})
	}
	asking.Wait()
}

func askHTTP(label, path string) (*http.Request, error) {
	r, err := http.NewRequest("GET", "http://gateway.example/ext-authz/chatgpt.com"+path, nil)
	if err == nil {
		r.Header.Set("X-Label", label)
	}
	return r, err
}

func askGRPC(label, path string) (*http.Request, error) {
	check := checkOf("chatgpt.com", path, label)
	framed := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(check))), check...)
	r, err := http.NewRequest("POST", "http://gateway.example"+checkProcedure, bytes.NewReader(framed))
	if err == nil {
		r.Header.Set("Content-Type", "application/grpc")
		r.Header.Set("Te", "trailers")
	}
	return r, err
}

// checkOf returns a check as Envoy encodes it.
func checkOf(host, path, label string) []byte {
	field := func(number protowire.Number, value string) string {
		return string(protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), value))
	}
	entry := func(key, value string) string { return field(entryKey, key) + field(entryValue, value) }
	request := field(httpRequestMethod, "POST") + field(httpRequestPath, path) + field(httpRequestHeaders, entry("x-label", label))
	return []byte(field(checkRequestAttributes,
		field(attributesRequest, field(attributesRequestHTTP, request))+field(attributesExtensions, entry(hostExtension, host))))
}
