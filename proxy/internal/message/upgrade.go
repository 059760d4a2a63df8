package message

import (
	"net/http"

	"golang.org/x/net/http/httpguts"
)

// IsUpgrade reports whether r asks to speak another protocol on its connection (RFC
// 9110, section 7.8).
func IsUpgrade(r *http.Request) bool {
	return r.Header["Upgrade"] != nil && httpguts.HeaderValuesContainsToken(r.Header["Connection"], "Upgrade")
}
