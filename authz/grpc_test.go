//go:build !race

package authz

import (
	"bytes"
	"context"
	"encoding/binary"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/agentproxy/agentproxy/proxy"
)

// serve starts the endpoint on a Unix socket and returns a client of Envoy's
// kind.
func serve(t *testing.T, config Config) authv3.AuthorizationClient {
	t.Helper()
	return authv3.NewAuthorizationClient(dial(t, config))
}

// dial starts the endpoint on a Unix socket and returns a connection to it.
func dial(t *testing.T, config Config) *grpc.ClientConn {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, func() Config { return config }) }()
	conn, err := grpc.NewClient("unix:"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return conn
}

// check is a check as Envoy sends it: the host in the request is what its client
// asked for.
func check(host string, headers map[string]string) *authv3.CheckRequest {
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		ContextExtensions: map[string]string{"host": host},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "POST", Path: "/a%2Fb//c?d=e", Host: "gateway.example", Scheme: "https", Headers: headers,
		}},
	}}
}

// TestEnvoyAsks reads the request that Envoy means from what its configuration
// says, never from the host that a client has asked for.
func TestEnvoyAsks(t *testing.T) {
	t.Parallel()
	raw := check("chatgpt.com", nil)
	raw.Attributes.Request.Http.HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "x-label", RawValue: []byte("build-42")}}}
	twice := check("chatgpt.com", nil)
	twice.Attributes.Request.Http.HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
		{Key: "x-label", RawValue: []byte("admin")}, {Key: "x-label", RawValue: []byte("build-42")},
	}}
	for _, test := range []struct {
		name  string
		check *authv3.CheckRequest
		label string
		asks  bool
	}{
		{"plain", check("chatgpt.com", map[string]string{":authority": "gateway.example"}), "", true},
		{"a label", check("chatgpt.com", map[string]string{"x-label": "build-42"}), "build-42", true},
		{"a label, raw", raw, "build-42", true},
		{"two labels", check("chatgpt.com", map[string]string{"x-label": "admin,build-42"}), "", false},
		{"two labels, raw", twice, "", false},
		{"no host", check("", nil), "", false},
		{"no extensions", &authv3.CheckRequest{Attributes: &authv3.AttributeContext{Request: check("", nil).Attributes.Request}}, "", false},
		{"nothing", &authv3.CheckRequest{}, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			decided := &answers{answer: granted()}
			got, err := serve(t, Config{Authorize: decided.authorize, LabelHeader: "X-Label"}).Check(t.Context(), test.check)
			if err != nil {
				t.Fatal(err)
			}
			if !test.asks {
				if codes.Code(got.Status.Code) != codes.PermissionDenied || got.GetDeniedResponse() == nil || len(decided.asked) > 0 {
					t.Errorf("%v, asked %v", got, decided.asked)
				}
				return
			}
			want := []proxy.Ask{{Label: test.label, Host: "chatgpt.com", Method: "POST", URI: "/a%2Fb//c?d=e"}}
			if diff := cmp.Diff(want, decided.asked); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestEnvoyAnswers has Envoy set what must be set in the place of what is there,
// remove the rest, and send a refusal to its client as it is.
func TestEnvoyAnswers(t *testing.T) {
	t.Parallel()
	decided := &answers{answer: granted()}
	client := serve(t, Config{Authorize: decided.authorize})
	got, err := client.Check(t.Context(), check("chatgpt.com", nil))
	if err != nil {
		t.Fatal(err)
	}
	ok := got.GetOkResponse()
	if codes.Code(got.Status.Code) != codes.OK || ok == nil {
		t.Fatalf("%v", got)
	}
	if diff := cmp.Diff(map[string]string{"Authorization": "AgentAssertion abc"}, set(t, ok.Headers)); diff != "" {
		t.Errorf("set (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Chatgpt-Account-Id", "X-Openai-Fedramp", "X-Openai-Agent-Assertion", "X-Openai-Authorization"}, ok.HeadersToRemove); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}

	decided.answer = proxy.Refusal(http.StatusServiceUnavailable, "no_login", "nobody is logged in")
	got, err = client.Check(t.Context(), check("chatgpt.com", nil))
	if err != nil {
		t.Fatal(err)
	}
	denied := got.GetDeniedResponse()
	if codes.Code(got.Status.Code) != codes.PermissionDenied || denied.GetStatus().GetCode() != 503 || denied.GetBody() != string(decided.answer.Body) {
		t.Errorf("%v", got)
	}
	if names := slices.Collect(maps.Keys(set(t, denied.GetHeaders()))); slices.Contains(names, "Authorization") || !slices.Contains(names, "Content-Type") {
		t.Errorf("a refusal has %v", names)
	}
}

// set returns what Envoy is told to set. All of it must replace what is there.
func set(t *testing.T, options []*corev3.HeaderValueOption) map[string]string {
	t.Helper()
	got := make(map[string]string)
	for _, o := range options {
		if o.AppendAction != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			t.Errorf("%s is added to what is there", o.Header.Key)
		}
		got[o.Header.Key] = o.Header.Value
	}
	return got
}

// TestEnvoyToken wants the token of gRPC calls too.
func TestEnvoyToken(t *testing.T) {
	t.Parallel()
	decided := &answers{answer: granted()}
	client := serve(t, Config{Authorize: decided.authorize, Token: "sesame"})
	for name, md := range map[string]metadata.MD{
		"none":  {},
		"wrong": metadata.Pairs("x-agentproxy-token", "sesam"),
		"two":   metadata.Pairs("x-agentproxy-token", "sesame", "x-agentproxy-token", "sesame"),
		// What a client of Envoy's sends is in the check, not in the call.
		"the client's": metadata.Pairs("authorization", "sesame"),
	} {
		_, err := client.Check(metadata.NewOutgoingContext(t.Context(), md), check("chatgpt.com", map[string]string{"x-agentproxy-token": "sesame"}))
		if status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(decided.asked) > 0 {
		t.Errorf("asked %v", decided.asked)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-agentproxy-token", "sesame")
	if _, err := client.Check(ctx, check("chatgpt.com", nil)); err != nil {
		t.Error(err)
	}
}

// TestGRPC keeps the deadline of a call and the limit of its size, and knows one
// procedure.
func TestGRPC(t *testing.T) {
	t.Parallel()
	var deadline bool
	config := Config{Authorize: func(ctx context.Context, _ proxy.Ask) proxy.Answer {
		_, deadline = ctx.Deadline()
		return granted()
	}}
	conn := dial(t, config)
	client := authv3.NewAuthorizationClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if _, err := client.Check(ctx, check("chatgpt.com", nil)); err != nil || !deadline {
		t.Errorf("a deadline: %t, %v", deadline, err)
	}
	if _, err := client.Check(t.Context(), check("chatgpt.com", nil)); err != nil || deadline {
		t.Errorf("a deadline of no call: %t, %v", deadline, err)
	}
	long := check("chatgpt.com", nil)
	long.Attributes.Request.Http.Body = strings.Repeat("a", maxCheck)
	if _, err := client.Check(t.Context(), long); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a long check: %v", err)
	}
	for _, method := range []string{"/envoy.service.auth.v2.Authorization/Check", "/envoy.service.auth.v3.Authorization/Other", "/grpc.health.v1.Health/Check"} {
		if err := conn.Invoke(t.Context(), method, check("chatgpt.com", nil), new(authv3.CheckResponse)); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", method, err)
		}
	}
	if err := conn.Invoke(t.Context(), checkProcedure, wrapperspb.Bytes([]byte("no check")), new(authv3.CheckResponse)); status.Code(err) != codes.InvalidArgument {
		t.Errorf("another message: %v", err)
	}
}

// TestGRPCAlone answers checks in gRPC's form alone: the others that its library knows are
// those of web pages.
func TestGRPCAlone(t *testing.T) {
	t.Parallel()
	decided := &answers{answer: granted()}
	handler := newServer(func() Config { return Config{Authorize: decided.authorize, Token: "sesame"} })
	body, err := proto.Marshal(check("chatgpt.com", nil))
	if err != nil {
		t.Fatal(err)
	}
	framed := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
	for _, test := range []struct {
		kind  string
		major int
		body  []byte
		want  int
	}{
		{"application/grpc", 2, framed, http.StatusOK},
		{"application/grpc+proto", 2, framed, http.StatusOK},
		{"application/grpc", 1, framed, http.StatusNotFound},
		{"application/grpc+json", 2, framed, http.StatusNotFound},
		{"application/grpc-web", 2, framed, http.StatusNotFound},
		{"application/grpc-web+proto", 2, framed, http.StatusNotFound},
		{"application/proto", 2, body, http.StatusNotFound},
		{"application/json", 2, []byte("{}"), http.StatusNotFound},
		{"application/connect+proto", 2, framed, http.StatusNotFound},
		{"", 2, framed, http.StatusNotFound},
	} {
		r := httptest.NewRequest(http.MethodPost, checkProcedure, bytes.NewReader(test.body))
		r.ProtoMajor = test.major
		r.Header.Set(TokenHeader, "sesame")
		if test.kind != "" {
			r.Header.Set("Content-Type", test.kind)
		}
		before := len(decided.asked)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if asked := len(decided.asked) > before; w.Code != test.want || asked != (test.want == http.StatusOK) {
			t.Errorf("%s over HTTP/%d: %d, asked %t, %s", test.kind, test.major, w.Code, asked, w.Body)
		}
	}
}
