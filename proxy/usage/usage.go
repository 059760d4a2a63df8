// Package usage reads along what a response of the model says of itself: the tokens
// that it used, in the events of a stream, and how much of the account's allowance is
// used up, in header fields.
//
// A reader is given copies of bytes that are on their way already. It holds 64 kB at
// most however long the stream, keeps nothing of what it has read but the numbers and
// the model's name, and cannot fail: what it does not understand it passes over.
package usage

// Tokens is what one response of the model used.
type Tokens struct {
	// Model is the model's name as the response says it, "" if it says none. It is
	// [maxText] bytes long at most.
	Model string
	// Input counts the tokens of the request, Cached those of them that the server
	// knew already, Output those of the answer.
	Input, Cached, Output int64
}

// zero reports whether nothing was used, as by a request that only warms a
// connection up.
func (t Tokens) zero() bool { return t.Input == 0 && t.Output == 0 }

const (
	// maxText bounds the names and strings that are looked at, in bytes. Longer
	// ones are none of those that are wanted.
	maxText = 128
	// maxTokens bounds a number of tokens. No model reads as many.
	maxTokens = 1 << 40
)

// kind says whether an event matters.
type kind uint8

const (
	unknown kind = iota
	ends         // it ends a response, and says what that used
	other
)

// kindOf returns the kind of an event by its type.
func kindOf(event []byte) kind {
	switch string(event) {
	case "response.completed", "response.incomplete", "response.failed":
		return ends
	}
	return other
}
