package app

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"

	"github.com/agentproxy/agentproxy/signer"
)

// HeaderOf returns a header with the fields that an authorization puts on a request.
func HeaderOf(auth *signer.Authorization) http.Header {
	header := make(http.Header)
	auth.SetHeader(header)
	return header
}

// NewToken returns a token for a proxy's clients that cannot be guessed.
func NewToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return hex.EncodeToString(b[:])
}
