package identity

import (
	"fmt"
	"io"
)

const redacted = "[redacted]"

// Secret is a string that must not be shown. However it is printed, logged or encoded,
// "[redacted]" appears in its place. [Secret.Reveal] alone returns the value.
//
// Keep a Secret, and what holds one, in exported fields: package fmt cannot call the
// methods of an unexported field and prints the string that it is.
type Secret string

var _ fmt.Formatter = Secret("")

// Reveal returns the value.
func (s Secret) Reveal() string { return string(s) }

// String returns "[redacted]".
func (Secret) String() string { return redacted }

// Format writes "[redacted]" for every verb, %x and %d included.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// MarshalText returns "[redacted]". Packages encoding/json and log/slog use it too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// If a verb does not suit, as %s does not suit a pointer, package fmt prints the value
// that the pointer points at without calling any method. The types that hold secrets
// therefore have a Format method of their own, which prints what fmt would print, with
// the secrets redacted.

// Format implements [fmt.Formatter] without showing a secret.
func (r Record) Format(f fmt.State, verb rune) {
	type plain Record
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(r))
}

// Format implements [fmt.Formatter] without showing a secret.
func (id Identity) Format(f fmt.State, verb rune) {
	type plain Identity
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(id))
}
