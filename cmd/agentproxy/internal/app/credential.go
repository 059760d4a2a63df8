package app

import (
	"net/http"

	"github.com/agentproxy/agentproxy/signer"
)

// CredentialFields returns the names and values of the header fields that an authorization
// puts on a request.
func CredentialFields(auth *signer.Authorization) (fields [][2]string) {
	if auth.Value == "" {
		return nil
	}
	fields = append(fields, [2]string{"Authorization", auth.Value.Reveal()})
	if auth.AccountID != "" {
		fields = append(fields, [2]string{"ChatGPT-Account-ID", auth.AccountID})
	}
	if auth.FedRAMP {
		fields = append(fields, [2]string{"X-OpenAI-Fedramp", "true"})
	}
	return fields
}

// HeaderOf returns a header with the fields that an authorization puts on a request.
func HeaderOf(auth *signer.Authorization) http.Header {
	header := make(http.Header)
	for _, field := range CredentialFields(auth) {
		header.Set(field[0], field[1])
	}
	return header
}
