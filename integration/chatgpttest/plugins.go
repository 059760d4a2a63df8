package chatgpttest

import (
	"archive/zip"
	"bytes"
	"net/http"
	"strconv"
)

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

// serveToolingState answers GET ps/plugins/tooling-state/*, when an account's tools
// changed last: never.
func (s *Server) serveToolingState(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	writeJSON(w, http.StatusOK, map[string]any{"tooling_changed_at": nil})
}

func (s *Server) serveConnectors(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	writeJSON(w, http.StatusOK, map[string]any{"apps": []any{}, "next_token": nil})
}
