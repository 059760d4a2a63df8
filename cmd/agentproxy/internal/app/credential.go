package app

import (
	"net/http"

	"github.com/agentproxy/agentproxy/signer"
)

// HeaderOf returns a header with the fields that an authorization puts on a request.
func HeaderOf(auth *signer.Authorization) http.Header {
	header := make(http.Header)
	auth.SetHeader(header)
	return header
}
