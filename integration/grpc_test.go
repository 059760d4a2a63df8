//go:build linux

package integration

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// grpcEcho answers each message of a call with its credential and payload, and
// ends the call with an error of its own, which gRPC sends as trailers.
type grpcEcho struct {
	testpb.UnimplementedTestServiceServer
}

func (grpcEcho) FullDuplexCall(call grpc.BidiStreamingServer[testpb.StreamingOutputCallRequest, testpb.StreamingOutputCallResponse]) error {
	md, _ := metadata.FromIncomingContext(call.Context())
	credential := append(md.Get("authorization"), "none")[0]
	for {
		message, err := call.Recv()
		if errors.Is(err, io.EOF) {
			return status.Error(codes.FailedPrecondition, "that was all")
		}
		if err != nil {
			return err
		}
		if err := call.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: append([]byte(credential+" "), message.Payload.Body...)}}); err != nil {
			return err
		}
	}
}

// TestGRPC has a gRPC client call both ways at once through the proxy, which
// needs HTTP/2 and its trailers on both sides.
func TestGRPC(t *testing.T) {
	t.Parallel()
	server := grpc.NewServer()
	testpb.RegisterTestServiceServer(server, grpcEcho{})
	p := serveHandler(t, server)

	client, err := grpc.NewClient("passthrough:///chatgpt.com:443",
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			conn, answer := p.connect(t, "chatgpt.com:443", "chatgpt.com:443")
			if answer.status != http.StatusOK {
				return nil, errors.New(answer.body)
			}
			return conn, nil
		}),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.roots(t)})))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	call, err := testpb.NewTestServiceClient(client).FullDuplexCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"one", "two", "three"} {
		if err := call.Send(&testpb.StreamingOutputCallRequest{Payload: &testpb.Payload{Body: []byte(body)}}); err != nil {
			t.Fatal(err)
		}
		answer, err := call.Recv()
		if err != nil {
			t.Fatal(err)
		}
		said := string(answer.Payload.Body)
		if !strings.HasPrefix(said, "AgentAssertion ") || !strings.HasSuffix(said, " "+body) {
			t.Errorf("%q was answered with %q", body, said)
		}
	}
	if err := call.CloseSend(); err != nil {
		t.Fatal(err)
	}
	_, err = call.Recv()
	if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != "that was all" {
		t.Errorf("the call ended with %v", err)
	}
}
