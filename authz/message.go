package authz

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/agentproxy/agentproxy/proxy"
)

// checkRequest holds what is read of an envoy.service.auth.v3.CheckRequest. Envoy's own
// Go types and gRPC's server would be eighty packages more in every start of the program.
type checkRequest struct {
	// extensions are what Envoy's configuration says beside the request.
	extensions map[string]string
	// method and path are the request's; the path has the query.
	method, path string
	// headers and headerMap are its header, in one of two forms.
	headers   map[string]string
	headerMap []headerValue
}

// headerValue is an envoy.config.core.v3.HeaderValue.
type headerValue struct {
	key, value string
	raw        []byte
}

// Field numbers of envoy.service.auth.v3, envoy.config.core.v3, envoy.type.v3 and
// google.rpc.
const (
	checkRequestAttributes protowire.Number = 1

	attributesRequest    protowire.Number = 4
	attributesExtensions protowire.Number = 10

	attributesRequestHTTP protowire.Number = 2

	httpRequestMethod    protowire.Number = 2
	httpRequestHeaders   protowire.Number = 3
	httpRequestPath      protowire.Number = 4
	httpRequestHeaderMap protowire.Number = 13

	headerMapHeaders protowire.Number = 1

	headerValueKey   protowire.Number = 1
	headerValueValue protowire.Number = 2
	headerValueRaw   protowire.Number = 3

	entryKey   protowire.Number = 1
	entryValue protowire.Number = 2

	checkResponseStatus protowire.Number = 1
	checkResponseDenied protowire.Number = 2
	checkResponseOK     protowire.Number = 3

	statusCode    protowire.Number = 1
	statusMessage protowire.Number = 2

	deniedStatus  protowire.Number = 1
	deniedHeaders protowire.Number = 2
	deniedBody    protowire.Number = 3

	httpStatusCode protowire.Number = 1

	okHeaders         protowire.Number = 2
	okHeadersToRemove protowire.Number = 5

	optionHeader       protowire.Number = 1
	optionAppendAction protowire.Number = 3
	// overwriteOrAdd is OVERWRITE_IF_EXISTS_OR_ADD.
	overwriteOrAdd = 2
)

// unmarshal sets r to the message in b, as protocol buffers say: a message that comes in
// parts is put together, of two values the last is taken, and unknown fields are skipped.
func (r *checkRequest) unmarshal(b []byte) error {
	*r = checkRequest{extensions: make(map[string]string), headers: make(map[string]string)}
	return eachField(b, func(number protowire.Number, attributes []byte) error {
		if number != checkRequestAttributes {
			return nil
		}
		return eachField(attributes, func(number protowire.Number, value []byte) error {
			switch number {
			case attributesExtensions:
				return setEntry(r.extensions, value)
			case attributesRequest:
				return eachField(value, func(number protowire.Number, request []byte) error {
					if number != attributesRequestHTTP {
						return nil
					}
					return eachField(request, r.setHTTP)
				})
			}
			return nil
		})
	})
}

// setHTTP sets what a field of an AttributeContext.HttpRequest says.
func (r *checkRequest) setHTTP(number protowire.Number, value []byte) error {
	switch number {
	case httpRequestMethod:
		return setString(&r.method, value)
	case httpRequestPath:
		return setString(&r.path, value)
	case httpRequestHeaders:
		return setEntry(r.headers, value)
	case httpRequestHeaderMap:
		return eachField(value, func(number protowire.Number, field []byte) error {
			if number != headerMapHeaders {
				return nil
			}
			var h headerValue
			if err := eachField(field, h.set); err != nil {
				return err
			}
			r.headerMap = append(r.headerMap, h)
			return nil
		})
	}
	return nil
}

// set sets what a field of a HeaderValue says.
func (h *headerValue) set(number protowire.Number, value []byte) error {
	switch number {
	case headerValueKey:
		return setString(&h.key, value)
	case headerValueValue:
		return setString(&h.value, value)
	case headerValueRaw:
		h.raw = slices.Clone(value)
	}
	return nil
}

// header returns the header of the request that is checked.
func (r *checkRequest) header() http.Header {
	header := make(http.Header)
	for name, value := range r.headers {
		header.Add(name, value)
	}
	for _, field := range r.headerMap {
		value := field.value
		if len(field.raw) > 0 {
			value = string(field.raw)
		}
		header.Add(field.key, value)
	}
	return header
}

// eachField calls each with the fields of a message that have a length: strings, bytes,
// maps and messages.
func eachField(message []byte, each func(protowire.Number, []byte) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
			return protowire.ParseError(n)
		}
		if kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message)
			if err := each(number, value); err != nil {
				return err
			}
		}
		message = message[n:]
	}
	return nil
}

// setEntry sets what an entry of a map says.
func setEntry(m map[string]string, entry []byte) error {
	var key, value string
	err := eachField(entry, func(number protowire.Number, part []byte) error {
		switch number {
		case entryKey:
			return setString(&key, part)
		case entryValue:
			return setString(&value, part)
		}
		return nil
	})
	if err == nil {
		m[key] = value
	}
	return err
}

var errNotUTF8 = errors.New("a string is not UTF-8")

func setString(s *string, value []byte) error {
	if !utf8.Valid(value) {
		return errNotUTF8
	}
	*s = string(value)
	return nil
}

// checkResponse is an envoy.service.auth.v3.CheckResponse.
type checkResponse struct{ proxy.Answer }

// marshal returns the message that has Envoy set the fields of the answer in the place of
// what is there, and remove the other fields of credentials, or send the refusal to its
// client.
func (r checkResponse) marshal() []byte {
	if !r.Granted() {
		status := appendVarint(nil, statusCode, codePermissionDenied)
		status = appendString(status, statusMessage, r.Code)
		denied := appendMessage(nil, deniedStatus, appendVarint(nil, httpStatusCode, uint64(r.Status)))
		denied = appendHeader(denied, deniedHeaders, r.Header)
		denied = appendString(denied, deniedBody, string(r.Body))
		return appendMessage(appendMessage(nil, checkResponseStatus, status), checkResponseDenied, denied)
	}
	ok := appendHeader(nil, okHeaders, r.Header)
	for _, name := range toRemove(r.Answer) {
		ok = appendString(ok, okHeadersToRemove, name)
	}
	return appendMessage(appendMessage(nil, checkResponseStatus, nil), checkResponseOK, ok)
}

// appendHeader appends a HeaderValueOption for each value of h.
func appendHeader(b []byte, number protowire.Number, h http.Header) []byte {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			field := appendString(appendString(nil, headerValueKey, name), headerValueValue, value)
			option := appendVarint(appendMessage(nil, optionHeader, field), optionAppendAction, overwriteOrAdd)
			b = appendMessage(b, number, option)
		}
	}
	return b
}

func appendMessage(b []byte, number protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), message)
}

func appendString(b []byte, number protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), s)
}

func appendVarint(b []byte, number protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
}

// codec is the coding of both messages, for gRPC.
type codec struct{}

// Name implements [connect.Codec].
func (codec) Name() string { return "proto" }

// Marshal implements [connect.Codec].
func (codec) Marshal(message any) ([]byte, error) {
	if r, ok := message.(*checkResponse); ok {
		return r.marshal(), nil
	}
	return nil, fmt.Errorf("%T is not sent", message)
}

// Unmarshal implements [connect.Codec].
func (codec) Unmarshal(b []byte, message any) error {
	if r, ok := message.(*checkRequest); ok {
		return r.unmarshal(b)
	}
	return fmt.Errorf("%T is not read", message)
}
