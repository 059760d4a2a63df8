package chatgpttest

import (
	"encoding/json"
	"net/http"
)

// serveApps answers POST wham/apps and ps/mcp, an MCP server without tools.
func (s *Server) serveApps(w http.ResponseWriter, r *http.Request, _ *exchange) {
	var req struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Method  string          `json:"method"`
		Params  struct {
			ProtocolVersion string `json:"protocolVersion"`
		} `json:"params"`
	}
	body, err := decodedBody(r)
	if err == nil {
		err = json.Unmarshal(body, &req)
	}
	if err != nil || req.JSONRPC != "2.0" {
		writeError(w, http.StatusBadRequest, "invalid_request", "the body is not a JSON-RPC message")
		return
	}
	if req.ID == nil { // a notification
		w.WriteHeader(http.StatusAccepted)
		return
	}
	answer := map[string]any{"jsonrpc": "2.0", "id": req.ID}
	switch req.Method {
	case "initialize":
		answer["result"] = map[string]any{
			"protocolVersion": req.Params.ProtocolVersion,
			"capabilities":    map[string]any{"tools": map[string]any{}},
			"serverInfo":      map[string]any{"name": "chatgpttest", "version": "1"},
		}
	case "ping":
		answer["result"] = map[string]any{}
	case "tools/list":
		answer["result"] = map[string]any{"tools": []any{}}
	case "resources/list":
		answer["result"] = map[string]any{"resources": []any{}}
	case "resources/templates/list":
		answer["result"] = map[string]any{"resourceTemplates": []any{}}
	default:
		answer["error"] = map[string]any{"code": -32601, "message": "method not found: " + req.Method}
	}
	writeJSON(w, http.StatusOK, answer)
}
