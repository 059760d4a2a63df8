package chatgpttest

import (
	"strings"
	"testing"
	"time"
)

// TestCompaction has a conversation compacted as 0.171 asks for it, and as older
// versions do. Neither is a turn.
func TestCompaction(t *testing.T) {
	s := newTestServer(t, Config{})
	key := addTestAgent(t, s, Account{}, "a", "t")
	s.SetInferenceOnly(true)
	for path, body := range map[string]string{
		"/codex/responses":         `{"model":"m","input":[{"type":"message"},{"type":"compaction_trigger"}]}`,
		"/codex/responses/compact": `{"model":"m","input":[{"type":"message"}]}`,
	} {
		resp := do(t, s, "POST", backend+path, []byte(body), "Authorization", assertion(key, "a", "t", time.Now()))
		if resp.StatusCode != 200 || !strings.Contains(string(resp.body), `"encrypted_content"`) || strings.Contains(string(resp.body), DefaultReply) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, resp.body)
		}
	}
	if n := s.Stats().Responses; n != 0 {
		t.Errorf("%d turns", n)
	}
}
