package authz

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"github.com/agentproxy/agentproxy/proxy"
)

const (
	// checkProcedure is the path of Envoy's checks over gRPC.
	checkProcedure = "/envoy.service.auth.v3.Authorization/Check"
	// maxCheck is the most that a check may be long: what servers of gRPC take by default.
	maxCheck = 4 << 20
	// hostExtension is the key, among the context extensions of a check, of the server that
	// the request will go to. Envoy's configuration sets it.
	hostExtension = "host"
	// codePermissionDenied is PERMISSION_DENIED of google.rpc.Code.
	codePermissionDenied = 7
)

// envoy answers the checks of Envoy's ext_authz filter over gRPC.
type envoy struct{ current func() Config }

// handler returns a handler of gRPC calls of checkProcedure.
func (e envoy) handler() http.Handler {
	return connect.NewUnaryHandler(checkProcedure, e.check, connect.WithCodec(codec{}), connect.WithReadMaxBytes(maxCheck))
}

// speaksGRPC reports whether r is a gRPC call of checkProcedure. The handler would take
// the Connect protocol and gRPC-Web, too, which a web page can speak.
func speaksGRPC(r *http.Request) bool {
	kind := r.Header.Get("Content-Type")
	return r.ProtoMajor == 2 && r.URL.Path == checkProcedure && (kind == "application/grpc" || kind == "application/grpc+proto")
}

func (e envoy) check(ctx context.Context, r *connect.Request[checkRequest]) (*connect.Response[checkResponse], error) {
	ask := proxy.Ask{
		Peer:   r.Peer().Addr,
		Host:   r.Msg.extensions[hostExtension],
		Method: r.Msg.method,
		URI:    r.Msg.path,
		Header: r.Msg.header(),
	}
	if ask.Host == "" {
		return connect.NewResponse(&checkResponse{malformed("the check has no context extension named " + hostExtension)}), nil
	}
	return connect.NewResponse(&checkResponse{e.current().ask(ctx, ask)}), nil
}
