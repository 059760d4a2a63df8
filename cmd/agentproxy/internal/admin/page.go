package admin

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/history"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/logline"
	"github.com/agentproxy/agentproxy/proxy"
)

//go:embed page
var pageFiles embed.FS

// refreshSeconds is how often a browser asks for the page again.
const refreshSeconds = "5"

// statusPage shows the state of the proxy, as a page and as JSON.
type statusPage struct {
	look func(context.Context) Status
	page *template.Template
}

func newStatusPage(look func(context.Context) Status) *statusPage {
	page := template.New("status.html").Funcs(template.FuncMap{
		"rough": logline.Roughly,
		"exact": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"rfc":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"bytes": logline.Bytes,
		"offset": func(seconds float64) string {
			return logline.Roughly(time.Duration(seconds * float64(time.Second)).Abs())
		},
		"tunnel": func(kind string) bool { return kind == proxy.KindTunnel },
		"took":   logline.Duration,
		"target": logline.Target,
		"word":   logline.Credential,
		"cut":    logline.Cut,
	})
	return &statusPage{look, template.Must(page.ParseFS(pageFiles, "page/status.html"))}
}

// add registers the page and its parts with mux.
func (p *statusPage) add(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", p.serve)
	mux.HandleFunc("GET /status.json", p.serveJSON)
	for _, file := range []string{"style.css", "icon-good.svg", "icon-warn.svg", "icon-bad.svg"} {
		mux.HandleFunc("GET /"+file, func(w http.ResponseWriter, r *http.Request) {
			pageHeaders(w.Header())
			http.ServeFileFS(w, r, pageFiles, "page/"+file)
		})
	}
}

// pageHeaders sets header fields that allow the page its own style sheet and icons, and
// nothing else. Whatever a label or a host smuggles in, no script runs and nothing is
// fetched from elsewhere.
func pageHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
}

func (p *statusPage) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	accept := r.Header.Get("Accept")
	if strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html") {
		p.serveJSON(w, r)
		return
	}
	paused := r.URL.Query().Has("paused")
	var page bytes.Buffer
	if err := p.page.Execute(&page, shownStatus{p.look(r.Context()), paused}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	pageHeaders(w.Header())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if !paused {
		w.Header().Set("Refresh", refreshSeconds)
	}
	_, _ = page.WriteTo(w)
}

func (p *statusPage) serveJSON(w http.ResponseWriter, r *http.Request) {
	pageHeaders(w.Header())
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(p.look(r.Context()))
}

// shownStatus is a status as the page shows it.
type shownStatus struct {
	Status
	Paused bool // the page is not renewed
}

// shownAgent is an agent at the moment of a status.
type shownAgent struct {
	agentStatus
	at time.Time
}

// Left returns the time until the access token expires, 0 if it has expired.
func (a shownAgent) Left() time.Duration { return max(a.TokenExpires.Sub(a.at), 0) }

// List returns the agents.
func (s Status) List() (list []shownAgent) {
	for _, agent := range s.Agents {
		list = append(list, shownAgent{agent, s.At})
	}
	return list
}

// Only returns the agent if there is only one, else nil.
func (s Status) Only() *shownAgent {
	if len(s.Agents) != 1 {
		return nil
	}
	return &s.List()[0]
}

// CanSign returns the number of agents that can sign.
func (s Status) CanSign() (n int) {
	for _, agent := range s.Agents {
		if agent.Ready {
			n++
		}
	}
	return n
}

// Widening returns the entries of scope.allow, as lines of YAML, that would allow the
// requests out of scope.
func (s Status) Widening() string {
	var lines []string
	for _, m := range s.OutOfScope {
		if m.Allow != "" {
			lines = append(lines, "    - "+m.Allow+"\n")
		}
	}
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "")
}

// maxShownRequests is how many of the latest requests the page shows unless it is paused.
const maxShownRequests = 15

// LatestRequests returns the requests that the page shows.
func (s shownStatus) LatestRequests() []history.Request {
	if s.Paused {
		return s.Requests
	}
	return s.Requests[:min(len(s.Requests), maxShownRequests)]
}

// MoreRequests returns the number of requests that the page leaves out.
func (s shownStatus) MoreRequests() int { return len(s.Requests) - len(s.LatestRequests()) }

// Left returns the time from the status until t.
func (s Status) Left(t time.Time) time.Duration { return t.Sub(s.At) }

// Ago returns the time from t until the status.
func (s Status) Ago(t time.Time) time.Duration { return s.At.Sub(t) }

// Soon reports whether t is less than some days away.
func (s Status) Soon(t time.Time, days int) bool {
	return s.Left(t) < time.Duration(days)*24*time.Hour
}

// Total returns the bytes of all kinds.
func (s Status) Total() (all proxy.Bytes) {
	for _, t := range s.Bytes {
		all.Received += t.Received
		all.Sent += t.Sent
	}
	return all
}

// More returns the number of exchanges in flight that are not listed.
func (s Status) More() int {
	more := -len(s.Live)
	for _, n := range s.InFlight {
		more += n
	}
	return max(more, 0)
}

// Counts returns in words what is in flight.
func (s Status) Counts() string {
	var parts []string
	for _, k := range []struct{ kind, one, many string }{
		{proxy.KindRequest, "request", "requests"},
		{proxy.KindWebSocket, "WebSocket", "WebSockets"},
		{proxy.KindTunnel, "tunnel", "tunnels"},
		{proxy.KindPlain, "plain request", "plain requests"},
	} {
		switch n := s.InFlight[k.kind]; n {
		case 0:
		case 1:
			parts = append(parts, "1 "+k.one)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n, k.many))
		}
	}
	return strings.Join(parts, ", ")
}
