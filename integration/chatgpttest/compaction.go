package chatgpttest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
)

// compacts reports whether a request asks for a conversation to be compacted, and
// not for the assistant's answer: its input ends with a trigger.
func compacts(body []byte) bool {
	var req struct {
		Input []struct {
			Type string `json:"type"`
		} `json:"input"`
	}
	if json.Unmarshal(body, &req) != nil || len(req.Input) == 0 {
		return false
	}
	return req.Input[len(req.Input)-1].Type == "compaction_trigger"
}

// compaction returns what stands for a conversation from now on.
func compaction() event {
	return event{"type": "compaction", "id": "cmp_" + rand.Text(), "encrypted_content": rand.Text()}
}

// compactionAnswer returns the events of an answer to a request that compacts.
func (s *Server) compactionAnswer(model string) []event {
	id, item := "resp_"+rand.Text(), compaction()
	return number([]event{
		{"type": "response.created", "response": event{"id": id, "object": "response", "status": "in_progress"}},
		{"type": "response.output_item.done", "output_index": 0, "item": item},
		{"type": "response.completed", "response": s.completed(id, model, []any{item})},
	})
}

// serveCompact answers POST codex/responses/compact, where older versions ask for
// the same.
func (s *Server) serveCompact(w http.ResponseWriter, r *http.Request, _ *exchange) {
	body, err := decodedBody(r)
	if err == nil {
		_, err = checkResponsesRequest(body)
	}
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"output": []any{compaction()}})
}
