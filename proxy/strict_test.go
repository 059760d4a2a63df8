package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// strictRequest is a request of HTTP/1.1 as the strict parser read it.
type strictRequest struct {
	method, target string
	fields         [][2]string // names in lower case
	body           string
	trailers       [][2]string
}

// values returns the values of a field, in their order.
func (r *strictRequest) values(name string) (values []string) {
	for _, f := range r.fields {
		if f[0] == name {
			values = append(values, f[1])
		}
	}
	return values
}

// errMalformed says that bytes are no request, as against an end that came too
// early.
var errMalformed = errors.New("malformed")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// strictBodyLimit bounds what the parser reads of a body.
const strictBodyLimit = 32 << 20

// readStrict reads one request by the letter of RFC 9112, without any of the
// leniencies that the RFC allows. It shares no code with net/http, so that a
// request which net/http and a stricter server read differently is seen. expect
// is called before the body of a request that waits for 100 Continue.
func readStrict(r *bufio.Reader, expect func()) (*strictRequest, error) {
	line, err := strictLine(r)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(line, " ")
	if len(parts) != 3 || !isToken(parts[0]) || parts[1] == "" || parts[2] != "HTTP/1.1" {
		return nil, malformed("request line %q", line)
	}
	q := &strictRequest{method: parts[0], target: parts[1]}
	if i := strings.IndexFunc(q.target, func(c rune) bool { return c <= ' ' || c == 0x7f }); i >= 0 {
		return nil, malformed("target %q", q.target)
	}
	if q.fields, err = strictFields(r); err != nil {
		return nil, err
	}
	if len(q.values("host")) != 1 {
		return nil, malformed("Host %q", q.values("host"))
	}
	if strings.EqualFold(strings.Join(q.values("expect"), ","), "100-continue") {
		expect()
	}
	return q, q.readBody(r)
}

func (q *strictRequest) readBody(r *bufio.Reader) error {
	lengths, codings := q.values("content-length"), q.values("transfer-encoding")
	switch {
	case len(lengths) > 0 && len(codings) > 0:
		return malformed("Content-Length %q and Transfer-Encoding %q", lengths, codings)
	case len(codings) > 0:
		if len(codings) != 1 || codings[0] != "chunked" {
			return malformed("Transfer-Encoding %q", codings)
		}
		return q.readChunks(r)
	case len(lengths) > 0:
		n, ok := strictNumber(lengths[0], 10)
		if len(lengths) != 1 || !ok {
			return malformed("Content-Length %q", lengths)
		}
		return q.take(r, n)
	}
	return nil
}

func (q *strictRequest) readChunks(r *bufio.Reader) error {
	for {
		line, err := strictLine(r)
		if err != nil {
			return err
		}
		n, ok := strictNumber(line, 16)
		if !ok {
			return malformed("chunk size %q", line)
		}
		if n == 0 {
			q.trailers, err = strictFields(r)
			return err
		}
		if err := q.take(r, n); err != nil {
			return err
		}
		if line, err := strictLine(r); err != nil || line != "" {
			return errors.Join(err, malformed("%q after a chunk", line))
		}
	}
}

func (q *strictRequest) take(r *bufio.Reader, n int64) error {
	// No more than what comes is allocated, whatever the number says.
	body, err := io.ReadAll(io.LimitReader(r, min(n, strictBodyLimit)))
	q.body += string(body)
	if err == nil && int64(len(body)) < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func strictFields(r *bufio.Reader) (fields [][2]string, err error) {
	for {
		line, err := strictLine(r)
		if err != nil || line == "" {
			return fields, err
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) {
			return nil, malformed("header line %q", line)
		}
		value = strings.Trim(value, " \t")
		for i := range len(value) {
			if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
				return nil, malformed("value %q", value)
			}
		}
		fields = append(fields, [2]string{strings.ToLower(name), value})
	}
}

// strictLine reads a line that ends with CR LF and has neither of them inside.
func strictLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.Contains(line, "\r") {
		return "", malformed("line %q", line)
	}
	return line, nil
}

func strictNumber(s string, base int) (int64, bool) {
	n, err := strconv.ParseInt(s, base, 64)
	return n, err == nil && s[0] != '+' && s[0] != '-'
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}
