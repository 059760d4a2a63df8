package chatgpttest

import (
	"net/http"
	"slices"
	"time"
)

// backendPrefix is where the backend lives on most hosts. On chatgpt-staging.com
// it may live at the root.
const backendPrefix = "/backend-api"

// accountsPrefix is where the accounts API lives, on auth.openai.com.
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

// routes returns all endpoints.
func routes() []route {
	return slices.Concat(
		at(serviceBackend, AnyGeneration,
			endpoint{"GET", "/codex/models", authRequired, (*Server).serveModels},
			endpoint{"GET", "/codex/responses", authInference, (*Server).serveResponsesWebSocket},
			endpoint{"POST", "/codex/responses", authInference, (*Server).serveResponses},
			endpoint{"POST", "/codex/responses/compact", authInference, (*Server).serveCompact},
			endpoint{"POST", "/codex/analytics-events/events", authRequired, (*Server).serveAnalytics},
			endpoint{"GET", "/plugins/featured", authRequired, (*Server).servePlugins},
			endpoint{"GET", "/plugins/export/curated", authNone, (*Server).serveCuratedPlugins},
			endpoint{"GET", "/plugins/list", authRequired, (*Server).servePlugins},
			endpoint{"GET", "/ps/plugins/list", authRequired, (*Server).servePluginPage},
			endpoint{"GET", "/ps/plugins/installed", authRequired, (*Server).servePluginPage},
			endpoint{"GET", "/ps/plugins/suggested/codex", authRequired, (*Server).serveSuggestedPlugins},
			endpoint{"POST", "/ps/mcp", authRequired, (*Server).serveApps},
			endpoint{"POST", "/wham/apps", authRequired, (*Server).serveApps},
			endpoint{"GET", "/wham/accounts/check", authRequired, (*Server).serveAccountsCheck},
			endpoint{"GET", "/wham/settings/user", authRequired, (*Server).serveUserSettings},
			endpoint{"GET", "/ps/plugins/suggested", authRequired, (*Server).serveSuggestedPlugins},
			endpoint{"GET", "/ps/plugins/tooling-state/*", authRequired, (*Server).serveToolingState},
			endpoint{"GET", "/wham/config/bundle", authRequired, (*Server).serveConfigBundle},
			endpoint{"GET", "/wham/environments", authRequired, (*Server).serveEnvironments},
			endpoint{"GET", "/wham/profiles/me", authRequired, (*Server).serveProfile},
			endpoint{"GET", "/wham/rate-limit-reset-credits", authRequired, (*Server).serveResetCredits},
			endpoint{"GET", "/wham/security-setup", authRequired, (*Server).serveSecuritySetup},
			endpoint{"GET", "/wham/tasks/list", authRequired, (*Server).serveCloudTasks},
			endpoint{"GET", "/wham/usage", authRequired, (*Server).serveUsage},
			endpoint{"GET", "/wham/workspace-messages", authRequired, (*Server).serveWorkspaceMessages},
			endpoint{"GET", "/wham/remote/control/server", authOwn, (*Server).serveRemoteWebSocket},
			endpoint{"POST", "/wham/remote/control/server/enroll", authRequired, (*Server).serveRemoteEnroll},
			endpoint{"POST", "/wham/remote/control/server/refresh", authRequired, (*Server).serveRemoteRefresh},
			endpoint{"POST", "/wham/remote/control/server/pair", authOwn, (*Server).serveRemotePair},
			endpoint{"POST", "/wham/remote/control/server/pair/status", authOwn, (*Server).serveRemotePairStatus},
			endpoint{"GET", "/connectors/directory/list", authRequired, (*Server).serveConnectors},
			endpoint{"GET", "//connectors/directory/list", authRequired, (*Server).serveConnectors},
			endpoint{"GET", "/wham/agent-identities/jwks", authNone, (*Server).serveJWKS},
			endpoint{"GET", "/agent-identities/jwks", authNone, (*Server).serveJWKS},
		),
		at(serviceBackend, AnyGeneration,
			endpoint{"POST", "/files", authRequired, (*Server).serveCreateFile},
			endpoint{"PUT", "/files/*/upload", authRequired, (*Server).serveUploadFile},
			endpoint{"POST", "/files/*/uploaded", authRequired, (*Server).serveFileUploaded},
			endpoint{"GET", "/files/*", authRequired, (*Server).serveFileInfo},
		),
		at(serviceBackend, FirstGeneration,
			endpoint{"GET", "/authenticate_app_v2", authBearer, (*Server).serveBiscuit},
			endpoint{"POST", "/v1/agent/register", authRegistration, (*Server).serveRegisterAgent},
			endpoint{"POST", "/v1/agent/*/task/register", authRegistration, (*Server).serveRegisterTask},
		),
		at(serviceAuth, SecondGeneration,
			endpoint{"POST", accountsPrefix + "/v1/agent/register", authAccounts, (*Server).serveRegisterAccountsAgent},
			endpoint{"POST", accountsPrefix + "/v1/agent/*/task/register", authPublic, (*Server).serveRegisterAccountsTask},
		),
		at(serviceAuth, AnyGeneration,
			endpoint{"GET", accountsPrefix + "/v1/user-auth-credential/whoami", authBearer, (*Server).serveWhoami},
			endpoint{"POST", accountsPrefix + "/deviceauth/usercode", authNone, (*Server).serveUserCode},
			endpoint{"POST", accountsPrefix + "/deviceauth/token", authNone, (*Server).serveDeviceToken},
			endpoint{"GET", "/codex/device", authNone, (*Server).serveDevicePage},
			endpoint{"POST", "/codex/device", authNone, (*Server).serveDevicePage},
			endpoint{"POST", "/oauth/token", authNone, (*Server).serveToken},
			endpoint{"POST", "/oauth/revoke", authNone, (*Server).serveRevoke},
		),
		at(serviceAll, AnyGeneration,
			endpoint{"GET", "/healthz", authPublic, (*Server).serveHealth},
		),
		at(serviceTelemetry, AnyGeneration,
			endpoint{"POST", "/otlp/v1/metrics", authNone, (*Server).serveTelemetry},
		),
		// What proxies are tried with.
		at(serviceBackend, AnyGeneration,
			endpoint{"", "/test/sse", authRequired, (*Server).serveTestSSE},
			endpoint{"", "/test/ndjson", authRequired, (*Server).serveTestNDJSON},
			endpoint{"", "/test/chunked", authRequired, (*Server).serveTestChunked},
			endpoint{"", "/test/echo", authRequired, (*Server).serveTestEcho},
			endpoint{"GET", "/test/ws-echo", authRequired, (*Server).serveTestWebSocket},
			endpoint{"", "/test/trailers", authRequired, (*Server).serveTestTrailers},
			endpoint{"", "/test/early-hints", authRequired, (*Server).serveTestEarlyHints},
			endpoint{"", "/test/status/*", authRequired, (*Server).serveTestStatus},
			endpoint{"", "/test/bytes", authRequired, (*Server).serveTestBytes},
			endpoint{"", "/test/truncate", authRequired, (*Server).serveTestTruncate},
			endpoint{"", "/test/upload", authRequired, (*Server).serveTestUpload},
			endpoint{"", "/test/refuse/*", authRequired, (*Server).serveTestRefuse},
			endpoint{"", "/test/expect", authRequired, (*Server).serveTestExpect},
		),
	)
}

// at returns the endpoints as routes of a service. Those with which a generation's
// agents and tasks are registered name it.
func at(sv service, g Generation, endpoints ...endpoint) []route {
	routes := make([]route, len(endpoints))
	for i, e := range endpoints {
		routes[i] = route{e, sv, g}
	}
	return routes
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
	x.rec, r = s.recorder.begin(r, x.now, !s.Config.DropBodies)
	defer s.end(x.rec)

	w := &responseWriter{ResponseWriter: rw, rec: x.rec, drop: x.fault.DropAfter}
	w.Header().Set("Date", x.now.UTC().Format(http.TimeFormat))

	rt, param, allow := s.router.find(serviceOf(r.Host), r.Method, x.rec.req.Path)
	x.param = param
	gone := 0
	if rt.generation != AnyGeneration {
		gone = s.missing(rt.generation)
	}
	if gone != 0 {
		rt = route{endpoint: endpoint{auth: authPublic}}
	}
	res, refused := s.authenticate(r, rt.auth, x.now)
	x.setAuth(res)

	switch {
	case s.misbehave(w, r, x.fault):
	case gone != 0:
		drain(r)
		writeError(w, gone, "not_found", "no such endpoint: "+x.rec.req.Path)
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
