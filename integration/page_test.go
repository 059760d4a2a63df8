//go:build linux

package integration

import (
	"image"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
)

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

// checkPage looks at a page that a browser shows: its words, what axe-core and a screen
// reader find, and that nobody has to scroll sideways. It keeps a picture of that name,
// if there is one.
func checkPage(t *testing.T, b *browser, l look, name string, words ...string) {
	t.Helper()
	var text string
	b.eval(t, "document.title + '\\n' + document.querySelector('link[rel=icon]').href + '\\n' + document.body.innerText", &text)
	for _, want := range words {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	if strings.Contains(text, clientsMark) {
		t.Error("the page holds a query")
	}
	var scroll, inner int
	b.eval(t, "document.scrollingElement.scrollWidth", &scroll)
	b.eval(t, "innerWidth", &inner)
	if scroll > inner || inner != l.width {
		t.Errorf("the page is %d wide, the window %d", scroll, inner)
	}
	var iconWidth int
	b.eval(t, `new Promise(done => {
		const icon = new Image();
		icon.onload = () => done(icon.width);
		icon.onerror = () => done(0);
		icon.src = document.querySelector('link[rel=icon]').href;
	})`, &iconWidth)
	if iconWidth == 0 {
		t.Error("the icon cannot be shown")
	}
	for _, v := range b.axe(t) {
		t.Errorf("axe: %s: %s: %+v", v.ID, v.Help, v.Nodes)
	}
	picture := b.picture(t)
	// A page without its style sheet would be white, and none but it is dark.
	corner, darkest, brightest := brightness(picture)
	if dark := corner < 64; corner > 191 == dark || dark != (l.scheme == "dark") || corner == 255 || brightest-darkest < 128 {
		t.Errorf("the ground's brightness is %d, others from %d to %d", corner, darkest, brightest)
	}
	if name != "" {
		keepPicture(t, name, smallPNG(t, picture))
	}
	if t.Failed() {
		t.Log(text)
	}
}

// still returns a URL of the page as it is, but that it is not renewed: on a slow machine
// that would happen while it is looked at.
func still(t *testing.T, admin string) string {
	t.Helper()
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: admin})
			r.Out.Host = r.In.Host
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Del("Refresh")
			return nil
		},
	})
	t.Cleanup(server.Close)
	return server.URL + "/"
}

// TestPageInBrowser has a browser show the admin listener's page to people who prefer
// light and dark, and on a narrow screen, and works it by the keyboard.
func TestPageInBrowser(t *testing.T) {
	t.Parallel()
	p, admin := busyProxy(t)
	b := startBrowser(t)
	home := still(t, admin)
	usual := []string{
		"✓ signing – agentproxy\n", "/icon-good.svg", "Signing", "AgentAssertion", p.fixture.login.Identity().RuntimeID,
		"12% of 5 hours, 34% of 7 days", "1 WebSocket", "websocket", "GET chatgpt.com/backend-api/codex/responses",
		"POST chatgpt.com/backend-api/codex/responses", "chatgpt.com/backend-api/wham/tasks/list", "assertion", "run", "build-42",
		"CONNECT github.com", "tunnel", "chatgpt.com/backend-api/conversations", "403", "out_of_scope", "tracker.example", "host_refused",
		"Requests", "in 10 min", "Refused or failed", "Time to the answer", "GET chatgpt.com:443/backend-api/conversations",
	}
	for _, test := range []struct {
		name string
		look look
	}{
		{"page-light.png", look{1000, "light"}},
		{"page-dark.png", look{1000, "dark"}},
		{"page-narrow.png", look{360, "light"}},
		{"", look{360, "dark"}},
		{"", look{640, "light"}},
	} {
		b.open(t, home, test.look)
		checkPage(t, b, test.look, test.name, usual...)
		// A table stays one for a screen reader, however it is laid out.
		nodes := b.accessible(t)
		for _, want := range []axNode{
			{"table", "Latest requests"}, {"columnheader", "Credential"}, {"cell", "assertion"}, {"table", "Under way"}, {"table", "Requests out of scope"}, {"heading", "Refused lately"},
			{"main", ""}, {"banner", ""}, {"contentinfo", ""},
		} {
			if !slices.Contains(nodes, want) {
				t.Errorf("%+v: a screen reader is not told of %v", test.look, want)
			}
		}
	}
	t.Run("keyboard", func(t *testing.T) { workByKeyboard(t, b, home) })

	// A client's label is markup.
	const label = `<img/src=x/onerror=document.title=1>`
	response, err := p.client(t, label).Get(backendAPI + "/codex/models?client_version=1")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	eventually(t, "the request to be logged", func() bool { return strings.Contains(p.log.String(), `"kind":"request","client":"<img`) })
	b.open(t, home+"?paused", look{1000, "light"})
	checkPage(t, b, look{1000, "light"}, "", "✓ signing – agentproxy\n", label)
	var images, scripts int
	b.eval(t, "document.images.length", &images)
	b.eval(t, "document.scripts.length", &scripts)
	if images+scripts != 0 {
		t.Errorf("%d images, %d scripts", images, scripts)
	}

	r := curl(t, baseEnv(t), "-H", "Accept: application/json", "http://"+admin+"/")
	if !strings.Contains(r.body, `"client": "build-42"`) || !strings.Contains(r.body, `"ready": true`) || strings.Contains(r.body, clientsMark) {
		t.Errorf("as JSON: %s", r.body)
	}
	if r := curl(t, baseEnv(t), "-H", "Host: rebound.evil.example", "http://"+admin+"/"); r.Code != 421 {
		t.Errorf("by another name: status %d", r.Code)
	}
}

// workByKeyboard pauses the page, walks through it and resumes it without a mouse.
func workByKeyboard(t *testing.T, b *browser, home string) {
	b.open(t, home, look{1000, "light"})
	focused := func() (text string) {
		t.Helper()
		b.eval(t, "(document.activeElement.getAttribute('aria-label') || document.activeElement.innerText).trim()", &text)
		return text
	}
	outlined := func() (width string) {
		t.Helper()
		b.eval(t, "getComputedStyle(document.activeElement).outlineWidth", &width)
		return width
	}
	b.press(t, "Tab")
	if got := focused(); got != "pause" || outlined() != "2px" {
		t.Fatalf("the first Tab leads to %.40q, outlined by %s", got, outlined())
	}
	b.press(t, "Enter")
	b.loaded(t, home+"?paused")
	for _, want := range []string{"resume", "Lines to add", "JSON", "metrics", "readyz"} {
		b.press(t, "Tab")
		if got := focused(); got != want || outlined() != "2px" {
			t.Errorf("Tab leads to %.40q, outlined by %s, want %q", got, outlined(), want)
		}
	}
	b.open(t, home+"?paused", look{1000, "light"})
	b.press(t, "Tab")
	b.press(t, "Enter")
	b.loaded(t, home)
}

// TestPageCannotSign has a browser show what is to be done.
func TestPageCannotSign(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{scope: defaultScope})
	const codexHome = "/home/you/.codex" // which is on no machine
	f.edit(t, f.codexHome, codexHome)
	admin := f.adminOn(t)
	p := f.start(t, baseEnv(t), agentproxy, "serve", "--config", f.config)
	p.env = p.clientEnv(t)
	response, err := p.client(t, "run").Get(backendAPI + "/codex/models?client_version=1")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	eventually(t, "the refusal to be logged", func() bool { return strings.Contains(p.log.String(), `"refused":"no_login"`) })
	b := startBrowser(t)
	l := look{1000, "light"}
	b.open(t, still(t, admin), l)
	checkPage(t, b, l, "page-cannot-sign.png", "✗ cannot sign – agentproxy\n", "/icon-bad.svg", "Cannot sign", "no_login", codexHome, "codex login", "503", "chatgpt.com/backend-api/codex/models")
}

// TestPageOfProfiles has a browser show the page of a proxy of which a part needs somebody:
// a profile cannot sign, and the allowance of the other is used up.
func TestPageOfProfiles(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{scope: defaultScope, yaml: `clients: {trust_labels: true, token: x}
profiles: [{name: builds, labels: ["b-*"], identity: {codex_home: /home/you/.codex-builds}}]`})
	admin := f.adminOn(t)
	f.backend.SetUsedPercent(100, 34)
	p := f.start(t, baseEnv(t), agentproxy, "serve", "--config", f.config)
	for label, status := range map[string]int{"run": http.StatusTooManyRequests, "b-1": http.StatusServiceUnavailable} {
		response, err := labelled(t, p, label, "x").Post(backendAPI+"/codex/responses", "application/json", strings.NewReader(`{"model":"gpt-5","stream":true,"input":[{"type":"message","role":"user","content":[]}]}`))
		if err != nil || response.StatusCode != status {
			t.Fatalf("%s: %v, %v", label, response, err)
		}
		response.Body.Close()
	}
	b := startBrowser(t)
	page := still(t, admin)
	for _, l := range []look{{1000, "light"}, {1000, "dark"}, {360, "light"}} {
		b.open(t, page, l)
		checkPage(t, b, l, "", "! 1 of 2 agents cannot sign – agentproxy\n", "/icon-warn.svg", "1 of 2 agents", "builds", "no_login",
			"/home/you/.codex-builds", "100% of 5 hours", "429")
	}
}
