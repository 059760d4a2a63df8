package chatgpttest

import (
	"compress/gzip"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/coder/websocket"
	"github.com/klauspost/compress/zstd"
)

const (
	maxResponsesBody = 64 << 20 // decoded
	maxMessage       = 16 << 20 // of a WebSocket, decoded
	deltas           = 5        // parts in which the assistant's text is sent
)

// An event is one of those that tell of an answer, over SSE and WebSocket alike.
type event map[string]any

// serveResponses answers POST codex/responses with server-sent events.
func (s *Server) serveResponses(w http.ResponseWriter, r *http.Request, x *exchange) {
	body, err := decodedBody(r)
	model := ""
	if err == nil {
		model, err = checkResponsesRequest(body)
	}
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	s.writeLimits(w.Header(), x.now)
	if s.limitReached() {
		writeError(w, http.StatusTooManyRequests, "usage_limit_reached", "The usage limit has been reached.")
		return
	}
	var events []event
	if compacts(body) {
		events = s.compactionAnswer(model)
	} else {
		s.countResponse()
		events = s.answer(model)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	rc := http.NewResponseController(w)
	for i, e := range events {
		if i > 0 && s.Config.DeltaInterval > 0 && isDelta(e) && !sleep(r.Context(), s.Config.DeltaInterval) {
			return
		}
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e["type"], encodeJSON(e))
		if rc.Flush() != nil {
			return
		}
	}
}

// serveResponsesWebSocket answers codex/responses as a WebSocket: any number of
// response.create messages, each answered with the events that SSE would carry.
func (s *Server) serveResponsesWebSocket(w http.ResponseWriter, r *http.Request, x *exchange) {
	s.writeLimits(w.Header(), x.now)
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // a stand-in has no origin to protect
		CompressionMode:    websocket.CompressionContextTakeover,
	})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxMessage)
	s.mu.Lock()
	s.state.stats.WebSockets++
	s.mu.Unlock()
	for {
		_, msg, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		x.rec.message(msg)
		if err := s.answerMessage(r, conn, msg); err != nil {
			return
		}
	}
}

func (s *Server) answerMessage(r *http.Request, conn *websocket.Conn, msg []byte) error {
	var req struct {
		Type     string `json:"type"`
		Generate *bool  `json:"generate"`
	}
	err, model := json.Unmarshal(msg, &req), ""
	if err == nil && req.Type != "response.create" {
		err = fmt.Errorf("a message of type %q, not response.create", req.Type)
	}
	if err == nil {
		model, err = checkResponsesRequest(msg)
	}
	var events []event
	switch {
	case err != nil:
		events = []event{{
			"type": "error", "status": http.StatusBadRequest,
			"error": map[string]any{"type": "invalid_request_error", "code": "invalid_request", "message": err.Error()},
		}}
	case req.Generate != nil && !*req.Generate:
		events = s.emptyAnswer(model)
	case compacts(msg):
		events = s.compactionAnswer(model)
	default:
		s.countResponse()
		events = s.answer(model)
	}
	for i, e := range events {
		if i > 0 && s.Config.DeltaInterval > 0 && isDelta(e) && !sleep(r.Context(), s.Config.DeltaInterval) {
			return r.Context().Err()
		}
		if err := conn.Write(r.Context(), websocket.MessageText, encodeJSON(e)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) countResponse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.stats.Responses++
}

// decodedBody reads a body, undoing its Content-Encoding.
func decodedBody(r *http.Request) ([]byte, error) {
	var body io.Reader
	switch enc := r.Header.Get("Content-Encoding"); enc {
	case "", "identity":
		body = r.Body
	case "gzip":
		zr, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, fmt.Errorf("the body is not gzip: %w", err)
		}
		body = zr
	case "zstd":
		zr, err := zstd.NewReader(r.Body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxResponsesBody))
		if err != nil {
			return nil, fmt.Errorf("the body is not zstd: %w", err)
		}
		defer zr.Close()
		body = zr
	default:
		return nil, fmt.Errorf("unknown Content-Encoding %q", enc)
	}
	b, err := io.ReadAll(io.LimitReader(body, maxResponsesBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	if len(b) > maxResponsesBody {
		return nil, errors.New("the body is too large")
	}
	return b, nil
}

// checkResponsesRequest tells a request for an answer from anything else. It returns
// the model that is asked.
func checkResponsesRequest(body []byte) (model string, err error) {
	var req struct {
		Model *string           `json:"model"`
		Input []json.RawMessage `json:"input"`
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return "", fmt.Errorf("the request is not JSON of the right form: %w", err)
	}
	if req.Model == nil || *req.Model == "" {
		return "", errors.New("the request names no model")
	}
	if req.Input == nil {
		return "", errors.New("the request has no input")
	}
	return *req.Model, nil
}

// emptyAnswer is the answer to a request that only warms the connection up.
func (s *Server) emptyAnswer(model string) []event {
	id := "resp_" + rand.Text()
	return number([]event{
		{"type": "response.created", "response": event{"id": id, "object": "response", "status": "in_progress"}},
		{"type": "response.completed", "response": s.completed(id, model, nil)},
	})
}

// answer returns the events of an answer of the assistant, its text in several
// deltas.
func (s *Server) answer(model string) []event {
	s.mu.Lock()
	text := s.state.reply
	s.mu.Unlock()
	id, itemID := "resp_"+rand.Text(), "msg_"+rand.Text()
	part := event{"type": "output_text", "text": text, "annotations": []any{}}
	item := event{"type": "message", "id": itemID, "role": "assistant", "status": "completed", "content": []any{part}}

	events := []event{
		{"type": "response.created", "response": event{"id": id, "object": "response", "status": "in_progress"}},
		{"type": "response.output_item.added", "output_index": 0, "item": event{
			"type": "message", "id": itemID, "role": "assistant", "status": "in_progress", "content": []any{},
		}},
		{"type": "response.content_part.added", "item_id": itemID, "output_index": 0, "content_index": 0, "part": event{
			"type": "output_text", "text": "", "annotations": []any{},
		}},
	}
	for _, d := range split(text, deltas) {
		events = append(events, event{
			"type": "response.output_text.delta", "item_id": itemID, "output_index": 0, "content_index": 0, "delta": d,
		})
	}
	return number(append(events,
		event{"type": "response.output_text.done", "item_id": itemID, "output_index": 0, "content_index": 0, "text": text},
		event{"type": "response.content_part.done", "item_id": itemID, "output_index": 0, "content_index": 0, "part": part},
		event{"type": "response.output_item.done", "output_index": 0, "item": item},
		event{"type": "response.completed", "response": s.completed(id, model, []any{item})},
	))
}

// completed returns a response that has come to its end.
func (s *Server) completed(id, model string, output []any) event {
	if output == nil {
		output = []any{}
	}
	used := s.use(model, len(output))
	return event{
		"id": id, "object": "response", "status": "completed", "model": used.Model, "output": output,
		"usage": event{
			"input_tokens": used.Input, "input_tokens_details": event{"cached_tokens": used.Cached},
			"output_tokens": used.Output, "output_tokens_details": event{"reasoning_tokens": 0},
			"total_tokens": used.Input + used.Output,
		},
	}
}

func number(events []event) []event {
	for i, e := range events {
		e["sequence_number"] = i
	}
	return events
}

func isDelta(e event) bool {
	t, _ := e["type"].(string)
	return strings.HasSuffix(t, ".delta")
}

// split cuts text into at most n parts of about the same number of characters.
func split(text string, n int) []string {
	runes := []rune(text)
	size := max(1, (len(runes)+n-1)/n)
	var parts []string
	for len(runes) > size {
		parts = append(parts, string(runes[:size]))
		runes = runes[size:]
	}
	return append(parts, string(runes))
}
