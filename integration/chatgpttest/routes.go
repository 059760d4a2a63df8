package chatgpttest

import (
	"net/http"
	"strings"
	"time"
)

// backendPrefix is where the backend lives on most hosts. On chatgpt-staging.com
// it may live at the root.
const backendPrefix = "/backend-api"

// accountsPrefix is where newer clients register, on auth.openai.com.
const accountsPrefix = "/api/accounts"

// An exchange is a request being answered.
type exchange struct {
	now   time.Time // by the server's clock, when the request came
	fault Fault
	auth  AuthResult
	param string // what the * of the route stands for
	rec   *record
}

func (x *exchange) setAuth(res AuthResult) {
	x.auth = res
	x.rec.update(func(r *Request) { r.Auth = res })
}

type handler func(*Server, http.ResponseWriter, *http.Request, *exchange)

// A route is an endpoint. A * in its path stands for one segment.
type route struct {
	method string // empty: any
	path   string // without backendPrefix
	auth   authRule
	handle handler
}

// routes returns all endpoints. Paths are matched as they stand in the request
// line: an endpoint with a double slash is one that clients ask for so.
func routes() []route {
	return []route{
		{"GET", "/codex/models", authRequired, (*Server).serveModels},
		{"GET", "/codex/responses", authRequired, (*Server).serveResponsesWebSocket},
		{"POST", "/codex/responses", authRequired, (*Server).serveResponses},
		{"POST", "/codex/analytics-events/events", authRequired, (*Server).serveAnalytics},
		{"GET", "/plugins/featured", authRequired, (*Server).servePlugins},
		{"GET", "/plugins/export/curated", authOptional, (*Server).serveCuratedPlugins},
		{"GET", "/plugins/list", authRequired, (*Server).servePlugins},
		{"GET", "/ps/plugins/list", authRequired, (*Server).servePluginPage},
		{"GET", "/ps/plugins/installed", authRequired, (*Server).servePluginPage},
		{"GET", "/ps/plugins/suggested/codex", authRequired, (*Server).serveSuggestedPlugins},
		{"POST", "/ps/mcp", authRequired, (*Server).serveApps},
		{"POST", "/wham/apps", authRequired, (*Server).serveApps},
		{"GET", "/wham/accounts/check", authRequired, (*Server).serveAccountsCheck},
		{"GET", "/wham/settings/user", authRequired, (*Server).serveUserSettings},
		{"GET", "/connectors/directory/list", authRequired, (*Server).serveConnectors},
		{"GET", "//connectors/directory/list", authRequired, (*Server).serveConnectors},

		{"GET", "/authenticate_app_v2", authBearer, (*Server).serveBiscuit},
		{"POST", "/v1/agent/register", authRegistration, (*Server).serveRegisterAgent},
		{"POST", "/v1/agent/*/task/register", authRegistration, (*Server).serveRegisterTask},
		{"GET", "/wham/agent-identities/jwks", authPublic, (*Server).serveJWKS},
		{"GET", "/agent-identities/jwks", authPublic, (*Server).serveJWKS},
		{"POST", "/oauth/token", authPublic, (*Server).serveToken},
		{"GET", "/healthz", authPublic, (*Server).serveHealth},

		{"POST", "/files", authRequired, (*Server).serveCreateFile},
		{"PUT", "/files/*/upload", authRequired, (*Server).serveUploadFile},
		{"POST", "/files/*/uploaded", authRequired, (*Server).serveFileUploaded},
		{"GET", "/files/*", authRequired, (*Server).serveFileInfo},

		{"", "/test/sse", authRequired, (*Server).serveTestSSE},
		{"", "/test/ndjson", authRequired, (*Server).serveTestNDJSON},
		{"", "/test/chunked", authRequired, (*Server).serveTestChunked},
		{"", "/test/echo", authRequired, (*Server).serveTestEcho},
		{"GET", "/test/ws-echo", authRequired, (*Server).serveTestWebSocket},
		{"", "/test/trailers", authRequired, (*Server).serveTestTrailers},
		{"", "/test/early-hints", authRequired, (*Server).serveTestEarlyHints},
		{"", "/test/status/*", authRequired, (*Server).serveTestStatus},
		{"", "/test/bytes", authRequired, (*Server).serveTestBytes},
		{"", "/test/truncate", authRequired, (*Server).serveTestTruncate},
		{"", "/test/upload", authRequired, (*Server).serveTestUpload},
		{"", "/test/expect", authRequired, (*Server).serveTestExpect},
	}
}

// find returns the route for a method and path, and what its * stands for. The
// route has no handler if there is none; allow then lists the methods that are
// served at the path.
func find(method, path string) (rt route, param string, allow []string) {
	rest, backend := strings.CutPrefix(path, backendPrefix)
	rt.auth = authPublic
	switch {
	case backend && strings.HasPrefix(rest, "/"):
		rt.auth = authRequired
	case strings.HasPrefix(path, accountsPrefix+"/v1/agent/"):
		rest = strings.TrimPrefix(path, accountsPrefix)
	default:
		rest = path
	}
	for _, candidate := range routes() {
		p, ok := matchRoute(candidate.path, rest)
		if !ok {
			continue
		}
		if candidate.method == "" || candidate.method == method || candidate.method == "GET" && method == "HEAD" {
			return candidate, p, nil
		}
		allow = append(allow, candidate.method)
	}
	return rt, "", allow
}

func matchRoute(pattern, path string) (param string, ok bool) {
	before, after, star := strings.Cut(pattern, "*")
	if !star {
		return "", pattern == path
	}
	if path, ok = strings.CutPrefix(path, before); !ok {
		return "", false
	}
	if param, ok = strings.CutSuffix(path, after); !ok {
		return "", false
	}
	return param, param != "" && !strings.Contains(param, "/")
}

// serve answers every request: it records it, verifies its credential, applies
// faults, and hands it to its endpoint.
func (s *Server) serve(rw http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.jobs.Done()

	x := &exchange{fault: s.takeFault(r)}
	x.now = s.time().Add(x.fault.ClockOffset)
	x.rec, r = s.recorder.begin(r, x.now)
	defer s.end(x.rec)

	w := &responseWriter{ResponseWriter: rw, rec: x.rec, drop: x.fault.DropAfter}
	w.Header().Set("Date", x.now.UTC().Format(http.TimeFormat))

	rt, param, allow := find(r.Method, x.rec.req.Path)
	x.param = param
	res, refused := s.authenticate(r, rt.auth, x.now)
	x.setAuth(res)

	switch {
	case s.misbehave(w, r, x.fault):
	case refused != nil:
		drain(r)
		s.refuse(w, x, res, refused)
	case rt.handle != nil:
		rt.handle(s, w, r, x)
	case allow != nil:
		drain(r)
		w.Header()["Allow"] = allow
		writeError(w, http.StatusMethodNotAllowed, "method_not_allowed", "this endpoint does not serve "+r.Method)
	default:
		drain(r)
		writeError(w, http.StatusNotFound, "not_found", "no such endpoint: "+x.rec.req.Path)
	}
}

// refuse answers a request whose credential did not verify.
func (s *Server) refuse(w http.ResponseWriter, x *exchange, res AuthResult, refused *refusal) {
	res.OK, res.Reason = false, refused.reason
	x.setAuth(res)
	s.mu.Lock()
	s.state.stats.Unauthorized++
	s.mu.Unlock()
	refused.write(w)
}

// end notes that an exchange is over, also when its handler panicked.
func (s *Server) end(rec *record) {
	var r Request
	rec.update(func(req *Request) {
		req.Done = true
		r = *req
	})
	scheme, verdict := r.Auth.Scheme, "ok"
	if scheme == "" {
		scheme = "no credential"
	}
	if !r.Auth.OK {
		verdict = r.Auth.Reason
	}
	s.Config.Logf("%s %s %s%s: %s (%s), %d", r.Proto, r.Method, r.Host, r.Path, scheme, verdict, r.Status)
}

func (s *Server) serveHealth(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	writeJSON(w, http.StatusOK, map[string]any{"status": "ok"})
}
