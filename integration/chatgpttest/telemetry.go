package chatgpttest

import (
	"encoding/json"
	"net/http"
)

// serveTelemetry answers POST otlp/v1/metrics of ab.chatgpt.com, metrics in JSON as
// OTLP over HTTP has it. A key of Codex's own vouches for them, and no credential.
func (s *Server) serveTelemetry(w http.ResponseWriter, r *http.Request, _ *exchange) {
	body, err := decodedBody(r)
	switch {
	case err != nil:
		writeError(w, http.StatusBadRequest, "invalid_request", err.Error())
	case !json.Valid(body):
		writeError(w, http.StatusBadRequest, "invalid_request", "the metrics are not JSON")
	case r.Header.Get("Statsig-Api-Key") == "":
		writeError(w, http.StatusUnauthorized, "missing_key", "no Statsig-Api-Key header")
	default:
		writeJSON(w, http.StatusOK, map[string]any{"partialSuccess": nil})
	}
}
