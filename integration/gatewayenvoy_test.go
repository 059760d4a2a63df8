//go:build linux

package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"github.com/goccy/go-yaml"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
	proxypkg "github.com/agentproxy/agentproxy/proxy"
)

// Envoy itself is not run here: it is no Go module and no Debian package. Its
// part is played by what its documentation says of the filter, on the
// configuration in deploy/envoy as Envoy's own types read it.

// envoyMessage reads a configuration as Envoy does, which refuses what it does
// not know, and what breaks the rules of its types.
func envoyMessage(t *testing.T, content string, message interface {
	proto.Message
	ValidateAll() error
}) {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal(raw, message); err != nil {
		t.Fatal(err)
	}
	if err := message.ValidateAll(); err != nil {
		t.Fatal(err)
	}
}

// envoyFilter is what deploy/envoy says of the filter that asks.
type envoyFilter struct {
	authz *authzv3.ExtAuthz
	// extensions are those of the route.
	extensions map[string]string
	// names are those of all filters, in the order that they are run in.
	names []string
}

// envoyGRPC reads deploy/envoy/envoy.yaml.
func (g *gateway) envoyGRPC(t *testing.T) envoyFilter {
	t.Helper()
	var bootstrap bootstrapv3.Bootstrap
	envoyMessage(t, deployed(t, "envoy/envoy.yaml", "value: TOKEN", "value: "+g.token), &bootstrap)
	listener := bootstrap.GetStaticResources().GetListeners()[0]
	var manager hcmv3.HttpConnectionManager
	unpack(t, listener.GetFilterChains()[0].GetFilters()[0].GetTypedConfig(), &manager)
	f := envoyFilter{authz: new(authzv3.ExtAuthz)}
	for _, filter := range manager.GetHttpFilters() {
		f.names = append(f.names, filter.GetName())
		if filter.GetName() == extAuthz {
			unpack(t, filter.GetTypedConfig(), f.authz)
		}
	}
	var route authzv3.ExtAuthzPerRoute
	unpack(t, manager.GetRouteConfig().GetVirtualHosts()[0].GetRoutes()[0].GetTypedPerFilterConfig()[extAuthz], &route)
	f.extensions = route.GetCheckSettings().GetContextExtensions()
	return f
}

const extAuthz = "envoy.filters.http.ext_authz"

// envoyHTTP reads deploy/envoy/ext-authz-http.yaml.
func (g *gateway) envoyHTTP(t *testing.T) envoyFilter {
	t.Helper()
	var filter hcmv3.HttpFilter
	envoyMessage(t, deployed(t, "envoy/ext-authz-http.yaml", "value: TOKEN", "value: "+g.token, "127.0.0.1:9090", g.authz), &filter)
	f := envoyFilter{authz: new(authzv3.ExtAuthz)}
	unpack(t, filter.GetTypedConfig(), f.authz)
	return f
}

func unpack(t *testing.T, from interface{ UnmarshalTo(proto.Message) error }, to proto.Message) {
	t.Helper()
	if err := from.UnmarshalTo(to); err != nil {
		t.Fatal(err)
	}
}

// pending is a request that a client of Envoy's has sent, in the state that
// the filter sees it in.
type pending struct {
	method, path string
	header       http.Header
}

// verdict is what becomes of it: status 0 is sent on.
type verdict struct {
	status int
	body   string
}

// check plays the filter: it asks agentproxy, and changes the request's header as
// it is told.
func (f envoyFilter) check(t *testing.T, g *gateway, r pending) verdict {
	t.Helper()
	if f.authz.GetGrpcService() != nil {
		return f.checkGRPC(t, g, r)
	}
	return f.checkHTTP(t, r)
}

func (f envoyFilter) checkGRPC(t *testing.T, g *gateway, r pending) verdict {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+g.authz, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := t.Context()
	for _, field := range f.authz.GetGrpcService().GetInitialMetadata() {
		ctx = metadata.AppendToOutgoingContext(ctx, field.GetKey(), field.GetValue())
	}
	headers := map[string]string{":authority": gatewayName, ":path": r.path, ":method": r.method}
	for name, values := range r.header {
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	got, err := authv3.NewAuthorizationClient(conn).Check(ctx, &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		ContextExtensions: f.extensions,
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: r.method, Path: r.path, Host: gatewayName, Scheme: "https", Headers: headers,
		}},
	}})
	if err != nil {
		return f.onError(err.Error())
	}
	if codes.Code(got.GetStatus().GetCode()) != codes.OK {
		denied := got.GetDeniedResponse()
		return verdict{int(denied.GetStatus().GetCode()), denied.GetBody()}
	}
	for _, option := range got.GetOkResponse().GetHeaders() {
		if option.GetAppendAction() != corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD {
			r.header.Add(option.GetHeader().GetKey(), option.GetHeader().GetValue())
			continue
		}
		r.header.Set(option.GetHeader().GetKey(), option.GetHeader().GetValue())
	}
	for _, name := range got.GetOkResponse().GetHeadersToRemove() {
		r.header.Del(name)
	}
	return verdict{}
}

func (f envoyFilter) checkHTTP(t *testing.T, r pending) verdict {
	t.Helper()
	service := f.authz.GetHttpService()
	ask, err := http.NewRequestWithContext(t.Context(), r.method, service.GetServerUri().GetUri(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ask.URL.Opaque = service.GetPathPrefix() + r.path // byte for byte
	ask.Host = gatewayName                            // the client's
	for name, values := range r.header {
		if name == "Authorization" { // always
			ask.Header[name] = values
		}
		if matchesEnvoy(t, f.authz.GetAllowedHeaders(), name) {
			ask.Header[name] = values
		}
	}
	for _, field := range service.GetAuthorizationRequest().GetHeadersToAdd() {
		ask.Header.Set(field.GetKey(), field.GetValue())
	}
	transport := &http.Transport{DisableCompression: true}
	defer transport.CloseIdleConnections()
	got, err := transport.RoundTrip(ask)
	if err != nil {
		return f.onError(err.Error())
	}
	defer got.Body.Close()
	body := bodyOf(t, got)
	switch {
	case got.StatusCode >= 500:
		return f.onError(body)
	case got.StatusCode != http.StatusOK:
		return verdict{got.StatusCode, body}
	}
	for _, name := range strings.Split(got.Header.Get("X-Envoy-Auth-Headers-To-Remove"), ",") {
		r.header.Del(strings.TrimSpace(name))
	}
	for name, values := range got.Header {
		if matchesEnvoy(t, service.GetAuthorizationResponse().GetAllowedUpstreamHeaders(), name) {
			r.header[name] = values
		}
	}
	return verdict{}
}

// matchesEnvoy reports whether a list of Envoy's names a header. A regular
// expression is for the whole name, which Envoy has in lower case.
func matchesEnvoy(t *testing.T, list *matcherv3.ListStringMatcher, name string) bool {
	t.Helper()
	return slices.ContainsFunc(list.GetPatterns(), func(p *matcherv3.StringMatcher) bool {
		switch p.GetMatchPattern().(type) {
		case *matcherv3.StringMatcher_Exact:
			return strings.EqualFold(p.GetExact(), name)
		case *matcherv3.StringMatcher_SafeRegex:
			return regexp.MustCompile("^(?:" + p.GetSafeRegex().GetRegex() + ")$").MatchString(strings.ToLower(name))
		}
		t.Fatalf("no part is played here that matches by %v", p)
		return false
	})
}

// onError is what Envoy does where it got no answer.
func (f envoyFilter) onError(reason string) verdict {
	if f.authz.GetFailureModeAllow() {
		return verdict{}
	}
	return verdict{int(f.authz.GetStatusOnError().GetCode()), reason}
}

// send sends a request on to the backend, as the gateway does when the filter
// has let it pass.
func (g *gateway) send(t *testing.T, r pending) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(g.fixture.backend.CertPEM())
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, g.fixture.backend.Addr())
		},
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		ForceAttemptHTTP2: true,
	}
	defer transport.CloseIdleConnections()
	request := (&http.Request{
		Method: r.method, Header: r.header, Host: "chatgpt.com",
		URL: &url.URL{Scheme: "https", Host: "chatgpt.com", Opaque: "//chatgpt.com" + r.path},
	}).WithContext(t.Context())
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); response.StatusCode >= 400 && response.StatusCode != 404 {
		t.Errorf("%s %s: %s %s", r.method, r.path, response.Status, body)
	}
}

// clientRequest is a request with credentials of its client's own.
func clientRequest(method, path string) pending {
	return pending{method, path, http.Header{
		"Authorization": {"Bearer the-clients-own"}, "Chatgpt-Account-Id": {"the-clients-own"}, "X-Openai-Fedramp": {"the-clients-own"},
		"X-Agentproxy-Label": {"127.0.0.2"}, // set by the filter before
	}}
}

// TestEnvoy has Envoy's filter, played on the configuration in deploy/envoy, ask
// over gRPC and over HTTP.
func TestEnvoy(t *testing.T) {
	t.Parallel()
	for name, filter := range map[string]func(*gateway, *testing.T) envoyFilter{"gRPC": (*gateway).envoyGRPC, "HTTP": (*gateway).envoyHTTP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Run("signs", func(t *testing.T) {
				g := newGateway(t, fixtureConfig{})
				f := filter(g, t)
				for i, label := range []string{"127.0.0.2", "127.0.0.3", "127.0.0.2"} {
					r := clientRequest("POST", fmt.Sprintf("/backend-api/a%%2Fb//c?n=%d&x=a%%20b", i))
					r.header.Set("X-Agentproxy-Label", label)
					if got := f.check(t, g, r); got.status != 0 {
						t.Fatalf("%+v", got)
					}
					g.send(t, r)
				}
				requests := g.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)
				g.checkClean(t, requests)
				if got := tasks(requests); len(got) != 3 || got[0] == got[1] || got[0] != got[2] {
					t.Errorf("the tasks were %q", got)
				}
			})
			t.Run("signs with a token", func(t *testing.T) {
				g := newGateway(t, fixtureConfig{yaml: "signer: {use: bearer}"})
				r := clientRequest("GET", "/backend-api/test/echo")
				if got := filter(g, t).check(t, g, r); got.status != 0 {
					t.Fatalf("%+v", got)
				}
				g.send(t, r)
				g.checkClean(t, g.fixture.checkSigned(t, chatgpttest.SchemeBearer))
			})
			t.Run("refuses", func(t *testing.T) {
				g := newGateway(t, fixtureConfig{yaml: "signer: {use: token, token_file: /no/such/token}"})
				got := filter(g, t).check(t, g, clientRequest("GET", "/"))
				if got.status < 400 || !strings.Contains(got.body, `"code":"token_missing"`) {
					t.Errorf("%+v", got)
				}
				// Not even if Envoy is told to pass on what it gets no answer to.
				f := filter(g, t)
				f.authz.FailureModeAllow = true
				if got := f.check(t, g, clientRequest("GET", "/")); got.status < 400 {
					t.Error("a refusal was taken for a failure")
				}
			})
			t.Run("refuses when nobody answers", func(t *testing.T) {
				g := newGateway(t, fixtureConfig{})
				g.authz = freeAddress(t)
				if got := filter(g, t).check(t, g, clientRequest("GET", "/")); got.status != http.StatusServiceUnavailable {
					t.Errorf("%+v", got)
				}
			})
			t.Run("refuses with another token", func(t *testing.T) {
				g := newGateway(t, fixtureConfig{})
				g.token = "another-token"
				r := clientRequest("GET", "/")
				if got := filter(g, t).check(t, g, r); got.status < 400 || strings.Contains(fmt.Sprint(r.header), "AgentAssertion") {
					t.Errorf("%+v", got)
				}
			})
		})
	}
}

// TestEnvoyExample checks what of deploy/envoy the filter itself does not show:
// that clients can neither choose a label nor come from elsewhere, that all of
// that is before the question, and that what has no answer is not sent.
func TestEnvoyExample(t *testing.T) {
	g := &gateway{token: "a", authz: "127.0.0.1:9090"}
	f := g.envoyGRPC(t)
	want := []string{"envoy.filters.http.rbac", "envoy.filters.http.header_mutation", extAuthz, "envoy.filters.http.router"}
	if !slices.Equal(f.names, want) {
		t.Errorf("filters %q, want %q", f.names, want)
	}
	for name, f := range map[string]envoyFilter{"gRPC": f, "HTTP": g.envoyHTTP(t)} {
		if f.authz.GetFailureModeAllow() || f.authz.GetWithRequestBody() != nil {
			t.Errorf("%s: requests are sent without an answer, or their bodies wait for it", name)
		}
	}
	// Over gRPC all headers are told of where none are listed.
	if f.authz.GetAllowedHeaders() != nil || f.authz.GetDisallowedHeaders() != nil {
		t.Error("gRPC: agentproxy is not told of all headers")
	}
	list := g.envoyHTTP(t).authz
	if list.GetDisallowedHeaders() != nil {
		t.Error("HTTP: agentproxy is not told of all headers that it is to be told of")
	}
	told := []string{"X-Agentproxy-Label", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "Upgrade", "X-Original-Url"}
	for _, name := range proxypkg.CredentialHeaders() {
		if name != "Authorization" { // is always told of
			told = append(told, otherSpellings(name)...)
		}
	}
	for _, name := range told {
		if !matchesEnvoy(t, list.GetAllowedHeaders(), name) {
			t.Errorf("HTTP: agentproxy is not told of %s", name)
		}
	}
	if !strings.Contains(deployed(t, "envoy/envoy.yaml"), "OVERWRITE_IF_EXISTS_OR_ADD") {
		t.Error("a client can choose its label")
	}
}

// otherSpellings returns a name with each of its "-" as it is, and as "_".
func otherSpellings(name string) []string {
	before, after, more := strings.Cut(name, "-")
	if !more {
		return []string{name}
	}
	var spellings []string
	for _, rest := range otherSpellings(after) {
		spellings = append(spellings, before+"-"+rest, before+"_"+rest)
	}
	return spellings
}
