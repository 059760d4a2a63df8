package chatgpttest

import (
	"encoding/json"
	"net/http"
)

// The endpoints that the Codex CLI asks beside codex/responses answer as little as
// Codex is content with.

// serveModels answers with no model, and Codex uses the list it was built with.
func (s *Server) serveModels(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	w.Header().Set("Etag", `"chatgpttest"`)
	writeJSON(w, http.StatusOK, map[string]any{"models": []any{}})
}

func (s *Server) serveAnalytics(w http.ResponseWriter, r *http.Request, _ *exchange) {
	if body, err := decodedBody(r); err != nil || !json.Valid(body) {
		writeError(w, http.StatusBadRequest, "invalid_request", "the events are not JSON")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"status": "ok"})
}
