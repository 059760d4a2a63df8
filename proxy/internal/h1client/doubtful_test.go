package h1client

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
)

// TestDoubtfulEnd keeps a connection only where the server cannot have anything to send
// that belongs to the last response.
func TestDoubtfulEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, method, answer string
		kept                 int
	}{
		{"length", "GET", "200 OK\r\nContent-Length: 2\r\n\r\nok", 1},
		{"chunked", "GET", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1},
		{"204", "GET", "204 No Content\r\n\r\n", 1},
		{"204 of length 0", "GET", "204 No Content\r\nContent-Length: 0\r\n\r\n", 1},
		{"204 with a length", "GET", "204 No Content\r\nContent-Length: 2\r\n\r\n", 0},
		{"204 with a coding", "GET", "204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
		{"204 with a length and its body", "GET", "204 No Content\r\nContent-Length: 2\r\n\r\nok", 0},
		{"304", "GET", "304 Not Modified\r\n\r\n", 1},
		{"304 with a length", "GET", "304 Not Modified\r\nContent-Length: 2\r\n\r\n", 0},
		{"304 with a coding", "GET", "304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
		{"HEAD", "HEAD", "200 OK\r\n\r\n", 1},
		{"HEAD with a length", "HEAD", "200 OK\r\nContent-Length: 2\r\n\r\n", 0},
		{"HEAD with a coding", "HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
		{"bytes beyond the end", "GET", "200 OK\r\nContent-Length: 2\r\n\r\nok!", 0},
		{"a response beyond the end", "GET", "200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			pool := newPool()
			defer pool.closeIdle()
			pool.reserve(example)
			client, server := net.Pipe()
			defer server.Close()
			go func() {
				_, _ = http.ReadRequest(bufio.NewReader(server))
				_, _ = io.WriteString(server, "HTTP/1.1 "+test.answer)
			}()
			r := postOf(t, nil)
			r.Method = test.method
			res, err := newConn(pool, example, client, nil).roundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(res.Body); err != nil {
				t.Error(err)
			}
			if open, kept := pool.count(); open != test.kept || kept != test.kept {
				t.Errorf("%d connections are open, %d are kept, want %d", open, kept, test.kept)
			}
		})
	}
}
