package backend

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Operation is a kind of request to the services.
type Operation string

// The operations.
const (
	OperationBiscuit       Operation = "biscuit"        // [Client.Biscuit]
	OperationRegisterAgent Operation = "register_agent" // [Client.RegisterAgent]
	OperationRegisterTask  Operation = "register_task"  // [Client.RegisterTask]
	OperationRefresh       Operation = "refresh"        // of the access token
	OperationKeySet        Operation = "key_set"        // that signs identities which are JWTs
	OperationRevoke        Operation = "revoke"         // [Client.Revoke]
	OperationWhoami        Operation = "whoami"         // of a workspace's access token
	OperationDeviceCode    Operation = "device_code"    // [Client.DeviceCode]
	OperationDeviceLogin   Operation = "device_login"   // the exchange that ends [Client.DeviceLogin]
)

// Operations returns all operations.
func Operations() []Operation {
	return []Operation{OperationBiscuit, OperationRegisterAgent, OperationRegisterTask, OperationRefresh, OperationKeySet, OperationRevoke, OperationWhoami, OperationDeviceCode, OperationDeviceLogin}
}

// Result is the outcome of an [Operation], in one word.
type Result string

// The results.
const (
	ResultOK       Result = "ok"
	ResultEnded    Result = "ended"     // refused for good: somebody has to log in again
	ResultRefused  Result = "refused"   // the backend answered 4xx
	ResultFailed   Result = "failed"    // the backend answered something else, or what makes no sense
	ResultNoAnswer Result = "no_answer" // it was not reached, or did not answer in time
	ResultCanceled Result = "canceled"  // given up here
)

// Results returns all results.
func Results() []Result {
	return []Result{ResultOK, ResultEnded, ResultRefused, ResultFailed, ResultNoAnswer, ResultCanceled}
}

// permanent reports whether the answer to a refresh says that the refresh token is never
// good again. As in Codex, every 401 says so, and other answers by their code. A 403
// without such a code may come from a network filter.
func (e *AnswerError) permanent() bool {
	switch {
	case e == nil, e.Status == http.StatusTooManyRequests, e.Status/100 != 4:
		return false
	case e.Status == http.StatusUnauthorized:
		return true
	}
	switch strings.ToLower(e.Code) {
	case "invalid_grant", "invalid_refresh_token", "refresh_token_expired", "refresh_token_invalidated", "refresh_token_reused",
		"app_session_expired", "app_session_terminated", "token_expired", "token_invalidated":
		return true
	}
	return false
}

// RefreshEnd returns why the refresh token is never good again after a refresh that
// failed with err, "" if it may be.
func RefreshEnd(err error) string {
	if answer, _ := errors.AsType[*AnswerError](err); answer.permanent() {
		return cmp.Or(answer.Code, fmt.Sprintf("the answer was %d", answer.Status))
	}
	if unusable, ok := errors.AsType[*unusableError](err); ok && unusable.object {
		return fmt.Sprintf("its refresh token is spent: %v", unusable.err)
	}
	return ""
}

// observe reports the result of an operation. Every operation defers it.
func (b *Client) observe(o Operation, err *error) {
	if b.config.Observe != nil {
		b.config.Observe(o, resultOf(o, *err))
	}
}

func resultOf(o Operation, err error) Result {
	answer, answered := errors.AsType[*AnswerError](err)
	switch {
	case err == nil:
		return ResultOK
	case o == OperationRefresh && RefreshEnd(err) != "":
		return ResultEnded
	case answered && answer.Status/100 == 4:
		return ResultRefused
	case answered:
		return ResultFailed
	case errors.Is(err, context.Canceled):
		return ResultCanceled
	}
	if _, ok := errors.AsType[*unansweredError](err); ok {
		return ResultNoAnswer
	}
	return ResultFailed
}

// unusableError says that the answer to a request is of no use, although its status is
// 2xx: what the request asked for has been done.
type unusableError struct {
	doing string
	err   error
	// object says that the answer is at least the beginning of a JSON object, as the
	// services send it. A network filter, which has asked nobody, sends a page.
	object bool
}

func newUnusableError(doing string, err error, raw []byte) *unusableError {
	return &unusableError{doing, err, bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{"))}
}

func (e *unusableError) Error() string { return e.doing + ": " + e.err.Error() }
func (e *unusableError) Unwrap() error { return e.err }

// unansweredError says that a request got no answer.
type unansweredError struct{ err error }

func (e *unansweredError) Error() string { return e.err.Error() }
func (e *unansweredError) Unwrap() error { return e.err }
