//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strconv"
)

// clientAuthorization is what clients send, as they do that hold a placeholder.
const clientAuthorization = "Bearer placeholder"

// h1Client sends one and the same request over and over on one HTTP/1.1
// connection. It does the least that it can, so that what is measured is not the
// client.
type h1Client struct {
	conn    net.Conn
	reader  *bufio.Reader
	request []byte
	content int64 // bytes of zeros that follow the request
}

var _ client = (*h1Client)(nil)

// newH1 returns a client with a connection of its own.
func (e *endpoint) newH1(ctx context.Context, method, path string, headers ...string) (*h1Client, error) {
	conn, err := e.dial(ctx, e.tlsConfig(alpnH1))
	if err != nil {
		return nil, err
	}
	return &h1Client{conn: conn, reader: bufio.NewReaderSize(conn, 16<<10), request: e.requestBytes(method, path, headers...)}, nil
}

// requestBytes is a request such as an agent sends.
func (e *endpoint) requestBytes(method, path string, headers ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench/1\r\nAccept: */*\r\nAccept-Language: en\r\n"+
		"Originator: bench\r\nSession-Id: 0123456789abcdef\r\nAuthorization: %s\r\n", method, path, e.authority(), clientAuthorization)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// do implements client.
func (c *h1Client) do() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	for left := c.content; left > 0; {
		n, err := c.conn.Write(zeros[:min(left, int64(len(zeros)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	a, err := readAnswer(c.reader)
	if err != nil {
		return err
	}
	return a.skip(c.reader)
}

// close implements client.
func (c *h1Client) close() { c.conn.Close() }

// answer is what is taken from the header of an answer.
type answer struct {
	length  int64
	chunked bool
}

var errAnswer = errors.New("malformed answer")

// readAnswer reads the header of an answer. Any status but 200 is an error, and
// so is a server that wants to end the connection.
func readAnswer(r *bufio.Reader) (answer, error) {
	a := answer{length: -1}
	line, err := r.ReadSlice('\n')
	if err != nil {
		return a, err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
		return a, fmt.Errorf("the answer begins with %.80q", line)
	}
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return a, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return a, errAnswer
		}
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if a.length, err = strconv.ParseInt(string(value), 10, 64); err != nil || a.length < 0 {
				return a, errAnswer
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			a.chunked = bytes.EqualFold(value, []byte("chunked"))
		}
	}
	if a.length < 0 && !a.chunked {
		return a, errors.New("the answer ends with its connection")
	}
	return a, nil
}

// body returns the body that follows the header. A chunked one leaves its last
// empty line unread.
func (a answer) body(r *bufio.Reader) io.Reader {
	if a.chunked {
		return httputil.NewChunkedReader(r)
	}
	return io.LimitReader(r, a.length)
}

// skip reads to the end of the answer.
func (a answer) skip(r *bufio.Reader) error {
	if !a.chunked {
		for left := a.length; left > 0; {
			n, err := r.Discard(int(min(left, 1<<30)))
			if err != nil {
				return err
			}
			left -= int64(n)
		}
		return nil
	}
	if _, err := io.Copy(io.Discard, a.body(r)); err != nil {
		return err
	}
	return skipTrailer(r)
}

// skipTrailer reads what follows the last chunk: as a rule an empty line.
func skipTrailer(r *bufio.Reader) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return nil
		}
	}
}
