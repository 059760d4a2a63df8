//go:build linux

package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// browser is headless Chromium with one tab, driven by its DevTools protocol over a pair
// of pipes.
type browser struct {
	to      *os.File
	from    *bufio.Reader
	session string // of the tab
	calls   int
}

// startBrowser starts a browser that ends with the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	dir := t.TempDir()
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr lockedLog
	cmd := exec.Command(systemProgram(t, "chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--remote-debugging-pipe", "about:blank")
	cmd.Env = append(baseEnv(t), "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir, "HOME="+dir)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // which are 3 and 4 there
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirIn.Close()
	theirOut.Close()
	told := make(chan struct{})
	go func() {
		defer close(told)
		lines := bufio.NewReader(pipe)
		for {
			line, err := lines.ReadString('\n')
			_, _ = stderr.Write([]byte(line))
			if err != nil {
				return
			}
		}
	}()
	b := &browser{to: ourOut, from: bufio.NewReader(ourIn)}
	_ = ourIn.SetReadDeadline(time.Now().Add(4 * time.Minute))
	t.Cleanup(func() {
		_ = ourOut.Close() // whereupon it ends
		_ = ourIn.Close()
		hung := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer hung.Stop()
		<-told
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("chromium: %s", stderr.String())
		}
	})
	var tab struct{ TargetID string }
	b.call(t, "Target.createTarget", map[string]any{"url": "about:blank"}, &tab)
	var attached struct{ SessionID string }
	b.call(t, "Target.attachToTarget", map[string]any{"targetId": tab.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call(t, "Page.enable", nil, nil)
	return b
}

// call calls a method of the protocol. result may be nil.
func (b *browser) call(t *testing.T, method string, params map[string]any, result any) {
	t.Helper()
	if refused := b.try(t, method, params, result); refused != nil {
		t.Fatal(refused)
	}
}

// try is call for what the browser may refuse, as while it loads a page.
func (b *browser) try(t *testing.T, method string, params map[string]any, result any) (refused error) {
	t.Helper()
	b.calls++
	message, err := json.Marshal(map[string]any{"id": b.calls, "method": method, "params": params, "sessionId": b.session})
	if b.session == "" {
		message, err = json.Marshal(map[string]any{"id": b.calls, "method": method, "params": params})
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.to.Write(append(message, 0)); err != nil {
		t.Fatal(err)
	}
	for {
		raw, err := b.from.ReadBytes(0)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		var answer struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(bytes.TrimSuffix(raw, []byte{0}), &answer); err != nil {
			t.Fatal(err)
		}
		if answer.ID != b.calls {
			continue // it tells of something
		}
		if answer.Error != nil {
			return fmt.Errorf("%s: %s", method, answer.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(answer.Result, result); err != nil {
				t.Fatal(err)
			}
		}
		return nil
	}
}

// look is how a page is looked at.
type look struct {
	width  int
	scheme string // light or dark
}

// open has the browser show a page.
func (b *browser) open(t *testing.T, url string, l look) {
	t.Helper()
	b.call(t, "Emulation.setDeviceMetricsOverride", map[string]any{"width": l.width, "height": 800, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.call(t, "Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": l.scheme}}}, nil)
	b.call(t, "Page.navigate", map[string]any{"url": "about:blank"}, nil)
	b.call(t, "Page.navigate", map[string]any{"url": url}, nil)
	b.loaded(t, url)
}

// loaded waits until the page of a URL is there.
func (b *browser) loaded(t *testing.T, url string) {
	t.Helper()
	eventually(t, "the page "+url, func() bool {
		var answer struct{ Result struct{ Value bool } }
		expression := fmt.Sprintf("location.href === %q && document.readyState === 'complete'", url)
		return b.try(t, "Runtime.evaluate", map[string]any{"expression": expression}, &answer) == nil && answer.Result.Value
	})
}

// eval evaluates an expression in the page, or waits for a promise. The page's policy for
// scripts does not hold for it. result may be nil.
func (b *browser) eval(t *testing.T, expression string, result any) {
	t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct{ Exception struct{ Description string } }
	}
	b.call(t, "Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		t.Fatalf("%.200s: %s", expression, answer.ExceptionDetails.Exception.Description)
	}
	if result != nil {
		if err := json.Unmarshal(answer.Result.Value, result); err != nil {
			t.Fatalf("%.200s: %s: %v", expression, answer.Result.Value, err)
		}
	}
}

// press has a key pressed, such as Tab.
func (b *browser) press(t *testing.T, key string) {
	t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13}
	down := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
	if key == "Enter" {
		down["text"] = "\r"
	}
	b.call(t, "Input.dispatchKeyEvent", down, nil)
	b.call(t, "Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}, nil)
}

// picture returns what the whole page looks like.
func (b *browser) picture(t *testing.T) image.Image {
	t.Helper()
	var metrics struct {
		CSSContentSize struct{ Width, Height float64 }
	}
	b.call(t, "Page.getLayoutMetrics", nil, &metrics)
	var shot struct{ Data []byte }
	b.call(t, "Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true, "clip": map[string]any{
		"x": 0, "y": 0, "width": metrics.CSSContentSize.Width, "height": metrics.CSSContentSize.Height, "scale": 1,
	}}, &shot)
	decoded, err := png.Decode(bytes.NewReader(shot.Data))
	if err != nil {
		t.Fatal(err)
	}
	return decoded
}

// axNode is what a screen reader is told of a part of a page.
type axNode struct{ Role, Name string }

// accessible returns what a screen reader is told of the page.
func (b *browser) accessible(t *testing.T) (nodes []axNode) {
	t.Helper()
	var tree struct {
		Nodes []struct {
			Ignored    bool
			Role, Name struct{ Value string }
		}
	}
	b.call(t, "Accessibility.getFullAXTree", nil, &tree)
	for _, n := range tree.Nodes {
		if !n.Ignored {
			nodes = append(nodes, axNode{n.Role.Value, n.Name.Value})
		}
	}
	return nodes
}

// violation is what axe-core finds wrong with a page.
type violation struct {
	ID, Help string
	Nodes    []struct{ HTML, FailureSummary string }
}

// axe returns what axe-core finds, its recommendations included.
func (b *browser) axe(t *testing.T) (found []violation) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("clients", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatalf("%v; run make clients", err)
	}
	b.eval(t, string(source)+"; 0", nil)
	b.eval(t, "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)", &found)
	return found
}
