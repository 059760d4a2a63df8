package backend

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// AnswerError is the answer to a request with a status other than 2xx.
type AnswerError struct {
	Doing  string // such as "register the agent"
	Status int
	Code   string // the error code in the answer, "" if there is none
	// RetryAfter is the time for which the server asks to be left alone (RFC 9110,
	// section 10.2.3), 0 if it does not ask.
	RetryAfter time.Duration
}

// Error returns what was asked for, the status and the code.
func (e *AnswerError) Error() string {
	if e.Code != "" {
		return fmt.Sprintf("%s: the backend answered %d (%s)", e.Doing, e.Status, e.Code)
	}
	return fmt.Sprintf("%s: the backend answered %d", e.Doing, e.Status)
}

// Status returns the status of an [*AnswerError], 0 for other errors.
func Status(err error) int {
	if e, ok := errors.AsType[*AnswerError](err); ok {
		return e.Status
	}
	return 0
}

// IsMissing reports whether err is an answer that something is not there: the endpoint,
// or what it was asked about.
func IsMissing(err error) bool {
	switch Status(err) {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
		return true
	}
	return false
}

// isTransient reports whether the same request may succeed a moment later.
func isTransient(err error) bool {
	if status := Status(err); status != 0 {
		return status == http.StatusTooManyRequests || status >= http.StatusInternalServerError
	}
	_, unanswered := errors.AsType[*unansweredError](err)
	return unanswered
}

// RetryAfter returns the time for which the server that answered with err asks to be left
// alone, 0 if it does not ask.
func RetryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*AnswerError](err); ok {
		return e.RetryAfter
	}
	return 0
}

// maxRetryAfter bounds the time that a server may ask for.
const maxRetryAfter = time.Hour

// retryAfter returns the time for which a server with too much to do asks to be left
// alone, 0 if it does not ask.
func (b *Client) retryAfter(response *http.Response) time.Duration {
	if response.StatusCode != http.StatusTooManyRequests && response.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	value := response.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(b.config.Clock.Backend()), 0), maxRetryAfter)
}

// errorCode returns the code in an answer of one of the forms that OpenAI's services use,
// "" if there is none.
func errorCode(raw []byte) string {
	var answer struct {
		Code  string          `json:"code"`
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(raw, &answer) != nil {
		return ""
	}
	code := answer.Code
	var nested struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(answer.Error, &nested) == nil && nested.Code != "" {
		code = nested.Code
	} else if code == "" {
		_ = json.Unmarshal(answer.Error, &code)
	}
	// It goes into logs: no more than a word.
	if len(code) > 64 || strings.ContainsFunc(code, func(c rune) bool {
		return c != '_' && c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}) {
		return ""
	}
	return code
}
