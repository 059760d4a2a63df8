package chatgpttest

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// The endpoints that the Codex CLI asks beside codex/responses. They answer as
// little as Codex is content with.

// serveModels answers with no model, and Codex uses the list it was built with.
func (s *Server) serveModels(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	w.Header().Set("Etag", `"chatgpttest"`)
	writeJSON(w, http.StatusOK, map[string]any{"models": []any{}})
}

func (s *Server) servePlugins(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	writeJSON(w, http.StatusOK, []any{})
}

func (s *Server) servePluginPage(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	writeJSON(w, http.StatusOK, map[string]any{
		"plugins": []any{}, "pagination": map[string]any{"next_page_token": nil},
	})
}

func (s *Server) serveSuggestedPlugins(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	writeJSON(w, http.StatusOK, map[string]any{"enabled": false, "plugins": []any{}})
}

// serveCuratedPlugins names an archive of plugins, which is served from here too.
func (s *Server) serveCuratedPlugins(w http.ResponseWriter, r *http.Request, x *exchange) {
	if r.URL.Query().Has("archive") {
		archive := curatedArchive()
		w.Header().Set("Content-Type", "application/zip")
		w.Header().Set("Content-Length", strconv.Itoa(len(archive)))
		w.Write(archive)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"download_url": "https://" + r.Host + x.rec.req.Path + "?archive=1"})
}

// curatedArchive is a marketplace without plugins.
func curatedArchive() []byte {
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	f, err := zw.Create("plugins-main/.agents/plugins/marketplace.json")
	if err == nil {
		_, err = f.Write(encodeJSON(map[string]any{"name": "openai-curated", "plugins": []any{}}))
	}
	if err == nil {
		err = zw.Close()
	}
	if err != nil {
		panic("chatgpttest: " + err.Error()) // memory does not fail
	}
	return b.Bytes()
}

func (s *Server) serveAnalytics(w http.ResponseWriter, r *http.Request, _ *exchange) {
	if body, err := decodedBody(r); err != nil || !json.Valid(body) {
		writeError(w, http.StatusBadRequest, "invalid_request", "the events are not JSON")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"status": "ok"})
}

func (s *Server) serveConnectors(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	writeJSON(w, http.StatusOK, map[string]any{"apps": []any{}, "next_token": nil})
}

func (s *Server) serveAccountsCheck(w http.ResponseWriter, _ *http.Request, x *exchange) {
	a := s.accountOf(x.auth)
	writeJSON(w, http.StatusOK, map[string]any{
		"accounts": []any{map[string]any{
			"id":                       a.WorkspaceID,
			"plan_type":                a.PlanType,
			"workspace_backend_origin": s.Config.Origin,
			"account_routing_override": "NO_CONSTRAINT",
		}},
		"default_account_id": a.WorkspaceID,
		"account_ordering":   []any{a.WorkspaceID},
	})
}

func (s *Server) serveUserSettings(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	writeJSON(w, http.StatusOK, map[string]any{})
}

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
