//go:build linux

package integration

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// gardenToken is what the proxy signs with.
	gardenToken = "garden-token"
	// gardenSentinel follows whatever is sent.
	gardenSentinel = "GET /sentinel HTTP/1.1\r\nHost: chatgpt.com\r\nAuthorization: Bearer " + gardenToken + "\r\nConnection: close\r\n\r\n"
	// gardenPause is how long the proxy is waited for where it says nothing more,
	// as where it wants the rest of a body. What is complete has arrived by then, or
	// is not looked at.
	gardenPause = 200 * time.Millisecond
)

// A gardenRequest is a request as one server has read it.
type gardenRequest struct {
	Method        string   `json:"method"`
	Target        string   `json:"target"`
	Host          []string `json:"host"`
	Authorization []string `json:"authorization"`
	Body          []byte   `json:"body"` // nil where it was not read
}

func readGardenRequest(r *bufio.Reader, w io.Writer) (gardenRequest, error) {
	request, err := http.ReadRequest(r)
	if err != nil {
		return gardenRequest{}, err
	}
	if request.Header.Get("Expect") == "100-continue" {
		if _, err := io.WriteString(w, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return gardenRequest{}, err
		}
	}
	body, err := io.ReadAll(request.Body)
	return gardenRequest{
		Method: request.Method, Target: request.RequestURI, Host: []string{request.Host},
		Authorization: request.Header["Authorization"], Body: body,
	}, err
}

// TestGarden sends odd requests and the inputs of FuzzTunnelBytes through the proxy, and has
// servers that we did not write read what leaves: each of them sees the one
// request that net/http does, for the tunnel's host and with the proxy's
// credential alone, or refuses it.
func TestGarden(t *testing.T) {
	t.Parallel()
	sent := append(gardenInputs(t), oddRequests()...)
	left := sowGarden(t, sent)
	t.Logf("%d inputs, of which %d different requests left", len(sent), len(left))
	if len(left) < 100 {
		t.Fatal("that is too few to say anything")
	}
	for _, g := range gardeners {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			p := g.plant(t)
			taken := 0
			for _, request := range left {
				if p.feed(t, request) {
					taken++
				}
			}
			t.Logf("%d requests are read as they are meant, %d are refused", taken, len(left)-taken)
			if taken == 0 {
				t.Error("it refuses everything")
			}
		})
	}
}

// fuzzCorpus returns the inputs that a fuzz target keeps, whatever package it is of.
func fuzzCorpus(t *testing.T, target string) (inputs []string) {
	t.Helper()
	for _, stars := range []string{"*", "*/*", "*/*/*"} {
		files, err := filepath.Glob(filepath.Join("..", stars, "testdata", "fuzz", target, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			_, value, _ := strings.Cut(readFile(t, file), "\n")
			quoted := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(value), "[]byte("), ")")
			input, err := strconv.Unquote(quoted)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			inputs = append(inputs, input)
		}
	}
	if len(inputs) == 0 {
		t.Fatalf("%s keeps no inputs", target)
	}
	return inputs
}

// sowGarden sends each input through a tunnel and returns what leaves: the bytes
// of each different connection to the server, which gets one request on each.
func sowGarden(t *testing.T, inputs []string) [][]byte {
	t.Helper()
	r := newGardenRecorder(t)
	token := filepath.Join(t.TempDir(), "token")
	writeFile(t, token, []byte(gardenToken))
	p := newFixture(t, fixtureConfig{upstream: r, yaml: fmt.Sprintf("signer: {use: token, token_file: %q}", token)}).serve(t)
	var sowers sync.WaitGroup
	queue := make(chan string)
	for range 8 {
		sowers.Go(func() {
			for input := range queue {
				if err := p.sow(input); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, input := range inputs {
		queue <- input
	}
	close(queue)
	sowers.Wait()
	return r.records(t)
}

// sow sends an input through a tunnel, and waits for the end of what is answered.
func (p *proxy) sow(input string) error {
	raw, err := net.Dial("tcp", p.addr)
	if err != nil {
		return err
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(rawTimeout))
	if _, err := io.WriteString(raw, "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: chatgpt.com:443\r\n\r\n"); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(raw), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	// Who the proxy is matters to other tests.
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		return err
	}
	_, _ = io.WriteString(conn, input+gardenSentinel) // the proxy may hang up before it has all
	buf := make([]byte, 4096)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(gardenPause))
		if _, err := conn.Read(buf); err != nil {
			return nil
		}
	}
}

// gardenRecorder is a server that keeps the bytes of its connections. It answers
// the first request of each, and no other.
type gardenRecorder struct {
	*rawServer
	mu    sync.Mutex
	all   map[string]gardenRequest
	wrong []string
}

func newGardenRecorder(t *testing.T) *gardenRecorder {
	t.Helper()
	r := &gardenRecorder{all: make(map[string]gardenRequest)}
	r.rawServer = newRawServer(t, r.record)
	return r
}

func (r *gardenRecorder) record(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(rawTimeout))
	var raw bytes.Buffer
	request, err := readGardenRequest(bufio.NewReader(io.TeeReader(conn, &raw)), conn)
	if err == nil {
		_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		_, _ = io.Copy(&raw, conn) // what follows, until the proxy closes
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.all[raw.String()] = request
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		// It was not complete.
	default:
		if _, reset := errors.AsType[net.Error](err); !reset {
			r.wrong = append(r.wrong, fmt.Sprintf("%v: %q", err, raw.String()))
		}
	}
}

// records returns what arrived, in an order of its own, and checks what the rest
// of the garden is held against.
func (r *gardenRecorder) records(t *testing.T) (all [][]byte) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, wrong := range r.wrong {
		t.Errorf("net/http does not take what leaves: %s", wrong)
	}
	for _, raw := range slices.Sorted(maps.Keys(r.all)) {
		request := r.all[raw]
		if host := withoutPort(request.Host); !slices.Equal(host, []string{"chatgpt.com"}) || !slices.Equal(request.Authorization, []string{"Bearer " + gardenToken}) {
			t.Errorf("for %q with %q: %q", request.Host, request.Authorization, raw)
		}
		if request.Target != "/sentinel" {
			all = append(all, []byte(raw))
		}
	}
	return all
}

// A gardener is a server that reads requests. Servers that do not forward them
// tell in X-Seen what they saw.
type gardener struct {
	name string
	// config are files of integration/garden, in which @DIR@, @PORT@, @ORIGIN@ and
	// @ORIGINPORT@ are replaced.
	config  []string
	command []string // @DIR@ and @PORT@ are replaced
	npm     string   // its program among those of clients/package.json, "" for one of the system's
	env     []string
	forward bool
	// lost is part of requests that it drops without an answer, by mistake.
	lost string
	// normal is the form that it gives to targets before it passes them on.
	normal func(target string) string
}

// plot is a gardener at work.
type plot struct {
	gardener
	address string
	origin  *gardenOrigin // nil where it does not forward
}

// feed sends the bytes of a request and a sentinel, and reports whether the
// request was taken. One that was not must have been refused.
func (p *plot) feed(t *testing.T, raw []byte) bool {
	t.Helper()
	want, err := readGardenRequest(bufio.NewReader(bytes.NewReader(raw)), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	p.origin.reset()
	conn, err := net.DialTimeout("tcp", p.address, rawTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(rawTimeout))
	_, _ = conn.Write(append(slices.Clip(raw), gardenSentinel...)) // it may hang up before it has all
	statuses, seen, err := readGardenAnswers(conn, want.Method)
	if err != nil {
		t.Errorf("%v after %d\nsent: %q", err, statuses, raw)
	}
	if p.forward {
		eventually(t, "all that was passed on is seen", p.origin.quiet)
		seen = p.origin.reset()
	}
	sentinel := gardenRequest{Method: "GET", Target: "/sentinel", Host: []string{"chatgpt.com"}, Authorization: []string{"Bearer " + gardenToken}, Body: []byte{}}
	if len(seen) == 0 || len(seen) == 1 && seen[0].Target == "/sentinel" {
		if len(statuses) == 0 || statuses[0] >= 400 {
			t.Logf("refused with %d: %.300q", statuses, raw)
			return false
		}
		if want.Method == http.MethodOptions && want.Target == "*" {
			return true // of itself (RFC 9110, 9.3.7)
		}
		if p.lost != "" && strings.Contains(string(raw), p.lost) {
			return false
		}
		t.Errorf("not seen, and answered with %d\nsent: %q", statuses, raw)
		return false
	}
	wanted := []gardenRequest{want, sentinel}
	if len(seen) > len(wanted) {
		t.Errorf("seen as %d requests: %+v\nsent: %q", len(seen), seen, raw)
		return false
	}
	for i, got := range seen {
		if !p.same(got, wanted[i]) {
			t.Errorf("seen as %+v, want %+v\nsent: %q", got, wanted[i], raw)
			return false
		}
	}
	return true
}

// same reports whether a server has seen what it was sent.
func (p *plot) same(got, want gardenRequest) bool {
	if p.normal != nil {
		got.Target, want.Target = p.normal(got.Target), p.normal(want.Target)
	}
	got.Host, want.Host = withoutPort(got.Host), withoutPort(want.Host)
	if got.Body == nil { // it was not read
		want.Body = nil
	}
	if len(got.Body) == 0 && len(want.Body) == 0 {
		got.Body, want.Body = nil, nil
	}
	return reflect.DeepEqual(got, want)
}

// withoutPort tells the hosts in small letters: some servers pass on no more.
func withoutPort(hosts []string) (names []string) {
	for _, host := range hosts {
		names = append(names, strings.TrimSuffix(strings.ToLower(host), ":443"))
	}
	return names
}

// readGardenAnswers reads to the end of a connection.
func readGardenAnswers(conn net.Conn, method string) (statuses []int, seen []gardenRequest, err error) {
	r := bufio.NewReader(conn)
	for {
		if _, err := r.Peek(1); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return statuses, seen, err
			}
			return statuses, seen, nil
		}
		response, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return statuses, seen, err
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return statuses, seen, err
		}
		if response.StatusCode < 200 {
			continue
		}
		statuses = append(statuses, response.StatusCode)
		method = http.MethodGet
		if encoded := response.Header.Get("X-Seen"); encoded != "" {
			var request gardenRequest
			text, err := base64.StdEncoding.DecodeString(encoded)
			if err == nil {
				err = json.Unmarshal(text, &request)
			}
			if err != nil {
				return statuses, seen, err
			}
			seen = append(seen, request)
		}
	}
}
