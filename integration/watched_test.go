//go:build linux

package integration

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// busyProxy starts a proxy with the admin listener, behind which two clients work: one
// like Codex, and one that asks for more than it may. It is what the pictures in docs/
// show.
func busyProxy(t *testing.T) (p *proxy, admin string) {
	t.Helper()
	f := newFixture(t, fixtureConfig{scope: defaultScope})
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	go func() { // ends with the listener
		for {
			c, err := other.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello")
			_ = c.Close()
		}
	}()
	f.edit(t, "other_hosts: refuse", "other_hosts: [github.com]", "  connect_to:\n", fmt.Sprintf("  connect_to:\n    \"github.com:443\": %q\n", other.Addr()))
	admin = f.adminOn(t)
	f.backend.SetUsedPercent(12, 34)
	p = f.serve(t)
	request := func(label, method, target, body string, status int) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		response, err := p.client(t, label).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != status {
			t.Fatalf("%s %s: %s, %v", method, target, response.Status, err)
		}
	}
	const turn = `{"model":"gpt-5","stream":true,"input":[{"type":"message","role":"user","content":[]}]}`
	request("run", http.MethodGet, backendAPI+"/codex/models?client_version=0.171.0&mark="+clientsMark, "", http.StatusOK)
	request("run", http.MethodGet, backendAPI+"/wham/tasks/list?limit=20", "", http.StatusOK)
	for range 3 {
		request("run", http.MethodPost, backendAPI+"/codex/responses", turn, http.StatusOK)
	}
	request("build-42", http.MethodPost, backendAPI+"/codex/responses", turn, http.StatusOK)
	request("build-42", http.MethodGet, backendAPI+"/conversations?mark="+clientsMark, "", http.StatusForbidden)
	p.refusedConnect(t, "tracker.example:443", basic("build-42"))
	via := url.URL{Scheme: "http", Host: p.addr}
	tunnel, err := net.Dial("tcp", via.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tunnel.Close() })
	writeString(t, tunnel, "CONNECT github.com:443 HTTP/1.1\r\nHost: github.com:443\r\nProxy-Authorization: "+basic("build-42")+"\r\n\r\n")
	if answer, err := io.ReadAll(tunnel); err != nil || !strings.HasSuffix(string(answer), "\r\n\r\nhello") {
		t.Fatalf("%q, %v", answer, err)
	}
	tunnel.Close()
	conn, _, err := websocket.Dial(t.Context(), "wss"+strings.TrimPrefix(backendAPI, "https")+"/codex/responses", &websocket.DialOptions{HTTPClient: withoutTimeout(p.client(t, "run"))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	eventually(t, "all requests to be logged", func() bool {
		return strings.Count(p.log.String(), `"message":"exchange"`)-strings.Count(p.log.String(), `"kind":"connect"`) >= 9
	})
	return p, admin
}

func withoutTimeout(c *http.Client) *http.Client {
	c.Timeout = 0
	c.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	return c
}

// maxPicture bounds the pictures in docs/, in bytes.
const maxPicture = 150_000

// smallPNG returns a picture as a PNG with its 256 most frequent colours alone.
func smallPNG(t *testing.T, picture image.Image) []byte {
	t.Helper()
	counts := make(map[color.RGBA]int)
	bounds := picture.Bounds()
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(picture.At(x, y)).(color.RGBA) }
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[at(x, y)]++
		}
	}
	frequent := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int { return counts[b] - counts[a] })
	var palette color.Palette
	for _, c := range frequent[:min(len(frequent), 256)] {
		palette = append(palette, c)
	}
	nearest := make(map[color.RGBA]uint8)
	for c := range counts {
		nearest[c] = uint8(palette.Index(c))
	}
	small := image.NewPaletted(bounds, palette)
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			small.SetColorIndex(x, y, nearest[at(x, y)])
		}
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, small); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// keepPicture writes a picture to docs/ if AGENTPROXY_PICTURES is set, as make pictures
// does. Otherwise it makes sure that there is one of that name.
func keepPicture(t *testing.T, name string, picture []byte) {
	t.Helper()
	if len(picture) > maxPicture {
		t.Errorf("%s has %d bytes, want %d at most", name, len(picture), maxPicture)
	}
	path := filepath.Join("..", "docs", name)
	if os.Getenv("AGENTPROXY_PICTURES") != "" {
		if err := os.WriteFile(path, picture, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if info, err := os.Stat(path); err != nil || info.Size() == 0 || info.Size() > maxPicture {
		t.Errorf("%v; run make pictures", err)
	}
}
