//go:build !race

package authz

import (
	"net/http"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/agentproxy/agentproxy/proxy"
)

// FuzzCheckRequest reads of a message what Envoy's own types read of it.
func FuzzCheckRequest(f *testing.F) {
	full := check("chatgpt.com", map[string]string{":authority": "gateway.example", "x-label": "build-42", "empty": ""})
	full.Attributes.Request.Http.HeaderMap = &corev3.HeaderMap{Headers: []*corev3.HeaderValue{
		{Key: "x-label", RawValue: []byte("b\xfcild")}, {Key: "a", Value: "b"}, {},
	}}
	full.Attributes.Request.Http.Size = -1
	full.Attributes.Request.Http.RawBody = []byte("\xff\x00")
	for _, seed := range []*authv3.CheckRequest{{}, check("", nil), full} {
		b, err := proto.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(append(b, b...)) // a message in parts
		f.Add(b[:len(b)/2])
	}
	f.Add([]byte("\x0a\x07\x22\x05\x12\x03\x12\x01\xff"))       // a method that is not UTF-8
	f.Add([]byte("\x0a\x04\x22\x02\x10\x01"))                   // a number in the place of a message
	f.Add([]byte("\x0b\x08\x01\x0c\x0a\x02\x22\x00"))           // a group
	f.Add([]byte("\x0a\x06\x52\x04\x0a\x02hi"))                 // an entry without a value
	f.Add([]byte("\x0a\x0a\x52\x08\x0a\x01a\x0a\x01b\x12\x00")) // an entry with two keys
	f.Add([]byte("\x0c"))                                       // the end of no group
	f.Fuzz(func(t *testing.T, b []byte) {
		var want authv3.CheckRequest
		wrong := proto.Unmarshal(b, &want)
		var got checkRequest
		if err := got.unmarshal(b); err != nil {
			if wrong == nil {
				t.Fatalf("%v for %v", err, &want)
			}
			return
		}
		if wrong != nil {
			return // wrong in what is not read here
		}
		attributes := want.GetAttributes()
		request := attributes.GetRequest().GetHttp()
		var fields []headerValue
		for _, h := range request.GetHeaderMap().GetHeaders() {
			fields = append(fields, headerValue{h.GetKey(), h.GetValue(), h.GetRawValue()})
		}
		expected := checkRequest{
			extensions: attributes.GetContextExtensions(),
			method:     request.GetMethod(), path: request.GetPath(),
			headers: request.GetHeaders(), headerMap: fields,
		}
		if diff := cmp.Diff(expected, got, cmp.AllowUnexported(checkRequest{}, headerValue{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-envoy +got):\n%s", diff)
		}
	})
}

// TestCheckResponse writes what Envoy's own types would.
func TestCheckResponse(t *testing.T) {
	t.Parallel()
	refusal := proxy.Refusal(http.StatusServiceUnavailable, "no_login", "nobody is logged in")
	for name, test := range map[string]struct {
		answer proxy.Answer
		want   *authv3.CheckResponse
	}{
		"granted": {granted(), &authv3.CheckResponse{
			Status: &rpcstatus.Status{},
			HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
				Headers:         options(granted().Header),
				HeadersToRemove: []string{"Chatgpt-Account-Id", "X-Openai-Fedramp", "X-Openai-Agent-Assertion", "X-Openai-Authorization"},
			}},
		}},
		"refused": {refusal, &authv3.CheckResponse{
			Status: &rpcstatus.Status{Code: int32(codes.PermissionDenied), Message: "no_login"},
			HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
				Status:  &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
				Headers: options(refusal.Header),
				Body:    string(refusal.Body),
			}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got authv3.CheckResponse
			if err := proto.Unmarshal(checkResponse{test.answer}.marshal(), &got); err != nil {
				t.Fatal(err)
			}
			byName := protocmp.SortRepeated(func(a, b *corev3.HeaderValueOption) bool { return a.Header.Key < b.Header.Key })
			if diff := cmp.Diff(test.want, &got, protocmp.Transform(), byName); diff != "" {
				t.Errorf("(-envoy +got):\n%s", diff)
			}
		})
	}
}

// options are the options by which Envoy replaces fields.
func options(h http.Header) []*corev3.HeaderValueOption {
	var list []*corev3.HeaderValueOption
	for name, values := range h {
		for _, value := range values {
			list = append(list, &corev3.HeaderValueOption{
				Header:       &corev3.HeaderValue{Key: name, Value: value},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			})
		}
	}
	return list
}
