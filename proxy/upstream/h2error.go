package upstream

import (
	"errors"
	"reflect"

	"golang.org/x/net/http2"
)

// Declined reports whether err says that a server of HTTP/2 does not process the request
// now: it is overloaded (ENHANCE_YOUR_CALM), or has refused each try (REFUSED_STREAM).
func Declined(err error) bool {
	switch code, stream, _ := h2Code(err); code {
	case http2.ErrCodeEnhanceYourCalm:
		return true
	case http2.ErrCodeRefusedStream:
		return stream
	}
	return false
}

// H2Code returns the code with which a server of HTTP/2 has ended a request or its
// connection, as RFC 9113 names it, if err is about that.
func H2Code(err error) (name string, ok bool) {
	code, _, ok := h2Code(err)
	return code.String(), ok
}

// h2Code returns the code of a reset stream, or that of a GOAWAY.
func h2Code(err error) (code http2.ErrCode, stream, ok bool) {
	// net/http's own type, which it makes this one of.
	if stream := (http2.StreamError{}); errors.As(err, &stream) {
		return stream.Code, true, true
	}
	for ; err != nil; err = errors.Unwrap(err) {
		if code, ok := goAwayCode(err); ok {
			return code, false, true
		}
	}
	return 0, false, false
}

// goAwayCode returns the code of a GOAWAY. net/http has an unexported type for it, known
// here by its fields, and for the first request of a connection nothing but a text.
func goAwayCode(err error) (http2.ErrCode, bool) {
	if err.Error() == "http2: Transport received GOAWAY from server ErrCode:"+http2.ErrCodeEnhanceYourCalm.String() {
		return http2.ErrCodeEnhanceYourCalm, true
	}
	v := reflect.ValueOf(err)
	if v.Kind() != reflect.Struct || !v.FieldByName("LastStreamID").IsValid() {
		return 0, false
	}
	code := v.FieldByName("ErrCode")
	if !code.IsValid() || code.Kind() != reflect.Uint32 {
		return 0, false
	}
	return http2.ErrCode(code.Uint()), true
}
