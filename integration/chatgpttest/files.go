package chatgpttest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"mime"
	"net/http"
)

// A file is what the server remembers of an upload: not its contents.
type file struct {
	name   string
	size   int64
	sha256 string
	stored bool
}

const maxFiles = 10_000

// serveCreateFile answers POST files: JSON announces a file, which is then put to
// the upload URL; anything else is the file itself.
func (s *Server) serveCreateFile(w http.ResponseWriter, r *http.Request, x *exchange) {
	id := "file-" + rand.Text()
	if t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); t != "application/json" {
		size, sum, err := countAndHash(r.Body)
		if err != nil {
			writeError(w, http.StatusBadRequest, "invalid_request", err.Error())
			return
		}
		s.storeFile(id, &file{size: size, sha256: sum, stored: true})
		writeJSON(w, http.StatusOK, map[string]any{"file_id": id, "size": size, "sha256": sum})
		return
	}
	var req struct {
		FileName string `json:"file_name"`
		FileSize int64  `json:"file_size"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "the body is not JSON: "+err.Error())
		return
	}
	s.storeFile(id, &file{name: req.FileName, size: req.FileSize})
	writeJSON(w, http.StatusOK, map[string]any{
		"status": "success", "file_id": id,
		"upload_url": "https://" + r.Host + x.rec.req.Path + "/" + id + "/upload",
	})
}

func (s *Server) storeFile(id string, f *file) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.state.files) >= maxFiles {
		clear(s.state.files)
	}
	s.state.files[id] = f
}

// file returns a copy of what is known of a file.
func (s *Server) file(w http.ResponseWriter, id string) (file, bool) {
	s.mu.Lock()
	f := s.state.files[id]
	s.mu.Unlock()
	if f == nil {
		writeError(w, http.StatusNotFound, "file_not_found", "no file "+id)
		return file{}, false
	}
	return *f, true // a stored file is replaced, never changed
}

func (s *Server) serveUploadFile(w http.ResponseWriter, r *http.Request, x *exchange) {
	f, ok := s.file(w, x.param)
	if !ok {
		return
	}
	size, sum, err := countAndHash(r.Body)
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	s.storeFile(x.param, &file{name: f.name, size: size, sha256: sum, stored: true})
	writeJSON(w, http.StatusCreated, map[string]any{"file_id": x.param, "size": size, "sha256": sum})
}

func (s *Server) serveFileUploaded(w http.ResponseWriter, r *http.Request, x *exchange) {
	f, ok := s.file(w, x.param)
	if !ok {
		return
	}
	if !f.stored {
		writeError(w, http.StatusConflict, "file_not_uploaded", "nothing was put to the upload URL")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"status": "success", "file_id": x.param, "file_name": f.name, "file_size_bytes": f.size, "sha256": f.sha256,
	})
}

func (s *Server) serveFileInfo(w http.ResponseWriter, _ *http.Request, x *exchange) {
	f, ok := s.file(w, x.param)
	if !ok {
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"file_id": x.param, "file_name": f.name, "size": f.size, "sha256": f.sha256, "uploaded": f.stored,
	})
}

func countAndHash(r io.Reader) (int64, string, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return n, hex.EncodeToString(h.Sum(nil)), err
}
