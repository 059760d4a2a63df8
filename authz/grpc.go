package authz

import (
	"context"
	"net/http"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"

	"github.com/agentproxy/agentproxy/proxy"
)

// hostExtension is the key, among the context extensions of a check, of the server that
// the request will go to. Envoy's configuration sets it.
const hostExtension = "host"

// envoy answers the checks of Envoy's ext_authz filter.
type envoy struct {
	authv3.UnimplementedAuthorizationServer
	current func() Config
}

var _ authv3.AuthorizationServer = envoy{}

// Check implements [authv3.AuthorizationServer].
func (e envoy) Check(ctx context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	attributes := r.GetAttributes()
	request := attributes.GetRequest().GetHttp()
	ask := proxy.Ask{
		Host:   attributes.GetContextExtensions()[hostExtension],
		Method: request.GetMethod(),
		URI:    request.GetPath(),
		Header: headerOf(request),
	}
	if from, ok := peer.FromContext(ctx); ok {
		ask.Peer = from.Addr.String()
	}
	if ask.Host == "" {
		return checked(malformed("the check has no context extension named " + hostExtension)), nil
	}
	return checked(e.current().ask(ctx, ask)), nil
}

// headerOf returns the header of the request that is checked, which Envoy sends in one
// of two forms.
func headerOf(request *authv3.AttributeContext_HttpRequest) http.Header {
	header := make(http.Header)
	for name, value := range request.GetHeaders() {
		header.Add(name, value)
	}
	for _, field := range request.GetHeaderMap().GetHeaders() {
		value := field.GetValue()
		if raw := field.GetRawValue(); len(raw) > 0 {
			value = string(raw)
		}
		header.Add(field.GetKey(), value)
	}
	return header
}

// checked returns an answer in the form of Envoy.
func checked(a proxy.Answer) *authv3.CheckResponse {
	if !a.Granted() {
		return &authv3.CheckResponse{
			Status: &rpcstatus.Status{Code: int32(codes.PermissionDenied), Message: a.Code},
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
				Status:  &typev3.HttpStatus{Code: typev3.StatusCode(a.Status)},
				Headers: setting(a.Header),
				Body:    string(a.Body),
			}},
		}
	}
	return &authv3.CheckResponse{
		Status: &rpcstatus.Status{Code: int32(codes.OK)},
		HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers:         setting(a.Header),
			HeadersToRemove: toRemove(a),
		}},
	}
}

// setting returns options by which Envoy replaces the fields of the request by those of h.
func setting(h http.Header) []*corev3.HeaderValueOption {
	var options []*corev3.HeaderValueOption
	for name, values := range h {
		for _, value := range values {
			options = append(options, &corev3.HeaderValueOption{
				Header:       &corev3.HeaderValue{Key: name, Value: value},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			})
		}
	}
	return options
}
