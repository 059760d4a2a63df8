//go:build linux

package integration

import (
	"image"
	_ "image/png"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// browse has headless Chromium show a page, and returns its document and what it
// looks like. preferred is the colour scheme of the person at the browser: 0 is
// dark, 1 light.
func browse(t *testing.T, url, preferred string) (document string, picture image.Image) {
	t.Helper()
	dir := t.TempDir()
	screenshot := filepath.Join(dir, "screenshot.png")
	environ := append(baseEnv(t), "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir)
	r := run(t, environ, systemProgram(t, "chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--window-size=1000,830", "--hide-scrollbars",
		"--blink-settings=preferredColorScheme="+preferred, "--screenshot="+screenshot, "--dump-dom", url)
	f, err := os.Open(screenshot)
	if err != nil {
		t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
	}
	defer f.Close()
	picture, _, err = image.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return r.stdout, picture
}

// brightness returns that of a picture's corner and of its brightest and darkest
// pixel, from 0 to 255.
func brightness(picture image.Image) (corner, darkest, brightest int) {
	at := func(x, y int) int {
		r, g, b, _ := picture.At(x, y).RGBA()
		return int(r+g+b) / 3 >> 8
	}
	bounds := picture.Bounds()
	corner, darkest = at(bounds.Min.X, bounds.Min.Y), 255
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			darkest, brightest = min(darkest, at(x, y)), max(brightest, at(x, y))
		}
	}
	return corner, darkest, brightest
}

// TestPageInBrowser has a browser show the admin listener's page while a stream
// runs whose label is markup, to people who prefer light and dark.
func TestPageInBrowser(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	admin := f.adminOn(t)
	p := f.serve(t)
	const label = `<img/src=x/onerror=document.title=1>`
	stream, err := p.client(t, label).Get(backendAPI + "/test/sse?n=2&interval_ms=3600000")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	plain, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://chatgpt.com/?secret="+clientsMark, nil)
	if err != nil {
		t.Fatal(err)
	}
	plain.Header.Set("Proxy-Authorization", basic("build-42"))
	refused, err := p.client(t, "").Do(plain)
	if err != nil {
		t.Fatal(err)
	}
	refused.Body.Close()
	if refused.StatusCode != http.StatusForbidden {
		t.Errorf("plain http: %s", refused.Status)
	}
	for name, preferred := range map[string]string{"dark": "0", "light": "1"} {
		t.Run(name, func(t *testing.T) {
			document, picture := browse(t, "http://"+admin+"/?paused", preferred)
			for _, want := range []string{
				"<title>agentproxy</title>", "Signing", "AgentAssertion", f.login.Identity().RuntimeID, "1 request",
				"&lt;img/src=x/onerror=document.title=1&gt;", "chatgpt.com:443",
				"plain_http_refused", "build-42", "use https://, which the proxy intercepts and signs",
			} {
				if !strings.Contains(document, want) {
					t.Errorf("no %q in the document", want)
				}
			}
			if strings.Contains(document, "<img") || strings.Contains(document, clientsMark) {
				t.Error("the document holds what a client sent")
			}
			// A page without its style sheet would be white, and none but it is dark.
			corner, darkest, brightest := brightness(picture)
			if dark := corner < 64; corner > 191 == dark || dark != (name == "dark") || corner == 255 || brightest-darkest < 128 {
				t.Errorf("the ground's brightness is %d, others from %d to %d", corner, darkest, brightest)
			}
			if t.Failed() {
				t.Log(document)
			}
		})
	}
	r := curl(t, baseEnv(t), "-H", "Accept: application/json", "http://"+admin+"/")
	if !strings.Contains(r.body, `"client": "build-42"`) || !strings.Contains(r.body, `"ready": true`) || strings.Contains(r.body, clientsMark) {
		t.Errorf("as JSON: %s", r.body)
	}
	if r := curl(t, baseEnv(t), "-H", "Host: rebound.evil.example", "http://"+admin+"/"); r.Code != 421 {
		t.Errorf("by another name: status %d", r.Code)
	}
}
