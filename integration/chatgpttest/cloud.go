package chatgpttest

import "net/http"

// CloudTask is the title of the only task that runs in the cloud.
const CloudTask = "Water the plants of the stand-in"

// serveCloudTasks answers GET wham/tasks/list, which codex cloud list asks for.
func (s *Server) serveCloudTasks(w http.ResponseWriter, _ *http.Request, x *exchange) {
	at := x.now.Unix()
	writeJSON(w, http.StatusOK, map[string]any{
		"items": []any{map[string]any{
			"id": "task_e_1", "title": CloudTask, "has_generated_title": true,
			"created_at": at, "updated_at": at,
			"task_status_display": map[string]any{},
			"archived":            false, "has_unread_turn": false, "pull_requests": []any{},
		}},
		"cursor": nil,
	})
}

// serveEnvironments answers GET wham/environments: tasks have nowhere to run.
func (s *Server) serveEnvironments(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	writeJSON(w, http.StatusOK, []any{})
}
