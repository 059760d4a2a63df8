package strictjson

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendPrintable appends JSON text, without line feeds between its tokens, to dst. In
// place of each rune that is not printable it has an escape (RFC 8259, section 7), so that
// the text controls no terminal and turns nothing around that is read beside it. It says
// the same to a program. Bytes that are no UTF-8 become U+FFFD.
func AppendPrintable(dst, text []byte) []byte {
	if bytes.IndexFunc(text, notPrintable) < 0 && utf8.Valid(text) {
		return append(dst, text...)
	}
	for _, r := range string(text) {
		switch {
		case !notPrintable(r):
			dst = utf8.AppendRune(dst, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
	}
	return dst
}

func notPrintable(r rune) bool { return !unicode.IsPrint(r) }
