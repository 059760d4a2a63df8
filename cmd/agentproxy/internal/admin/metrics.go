package admin

import (
	"cmp"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/history"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/proxy/access/exchange"
	"github.com/agentproxy/agentproxy/proxy/usage"
)

// Metrics counts what the proxy does, and remembers the last requests and refusals. No
// label has a value that a client, a server or the network chose: hosts are named by the
// configured pattern that they match, codes and kinds by this program's words.
// docs/metrics.md explains each metric.
type Metrics struct {
	registry *prometheus.Registry
	refused  *Refusals
	missed   recent[miss]
	latest   history.Requests
	counted  history.Counter
	started  time.Time

	requests  *prometheus.CounterVec
	connects  *prometheus.CounterVec
	asks      *prometheus.CounterVec
	firstByte *prometheus.HistogramVec
	duration  *prometheus.HistogramVec
	cut       *prometheus.CounterVec
	resent    *prometheus.CounterVec
	refusals  *prometheus.CounterVec
	misses    *prometheus.CounterVec
	signings  *prometheus.CounterVec
	backend   *prometheus.CounterVec
	reloads   *prometheus.CounterVec
	reloaded  prometheus.Gauge
	responses *prometheus.CounterVec
	tokens    *prometheus.CounterVec
	exchanges *prometheus.CounterVec
	quotas    quotas

	mu     sync.RWMutex
	series map[requestLabels]*requestSeries
}

// otherHostsLabel is the host label of all hosts that are not intercepted.
const otherHostsLabel = "other"

var _ app.Observer = (*Metrics)(nil)

// NewMetrics returns metrics that have counted nothing yet.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), started: time.Now(), series: make(map[requestLabels]*requestSeries),
		refused: NewRefusals(), missed: recent[miss]{most: maxMisses},
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{"host"})
		m.registry.MustRegister(h)
		return h
	}
	m.requests = counter("agentproxy_requests_total",
		"HTTP requests, by configured host pattern, signer and status of the response.", "host", "signer", "code")
	m.connects = counter("agentproxy_connects_total",
		"CONNECT requests, by configured host pattern and status of the response.", "host", "code")
	m.asks = counter("agentproxy_authz_total",
		"Requests that gateways asked about, by configured host pattern, signer and status of the decision.", "host", "signer", "code")
	m.firstByte = histogram("agentproxy_time_to_first_byte_seconds",
		"Time from a request to the header of its response, including signing and the server.",
		[]float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60})
	m.duration = histogram("agentproxy_request_duration_seconds",
		"Time from a request to the end of its response, which may be a stream or a WebSocket.",
		[]float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300, 1800, 3600})
	m.cut = counter("agentproxy_exchanges_cut_total",
		"Requests, WebSockets and tunnels that were cut, by kind and by who cut them: client, server or proxy.", "kind", "by")
	m.resent = counter("agentproxy_resent_requests_total",
		"Requests that were sent again with another credential after a 401, by the signer of the last one.", "signer")
	m.refusals = counter("agentproxy_refusals_total",
		"Requests and connections that the proxy refused, by code.", "code")
	m.misses = counter("agentproxy_out_of_scope_total",
		"Requests out of scope, by configured host pattern, reason and action: refused, or sent with a warning.", "host", "reason", "action")
	m.signings = counter("agentproxy_signings_total",
		"Credentials that signers were asked for, by signer and result.", "signer", "code")
	m.backend = counter("agentproxy_backend_requests_total",
		"The proxy's own requests to the backend, by operation and result.", "operation", "result")
	for _, o := range backend.Operations() {
		for _, r := range backend.Results() {
			m.backend.WithLabelValues(string(o), string(r)) // zero counts, too
		}
	}
	m.responses = counter("agentproxy_model_responses_total",
		"Responses of the model that said what they used. Counted if usage.file is set.", "profile")
	m.tokens = counter("agentproxy_model_tokens_total",
		"Tokens that responses of the model used, by kind: input, cached (part of the input) and output. Counted if usage.file is set.", "profile", "kind")
	m.exchanges = counter("agentproxy_token_exchanges_total",
		"Requests of workloads for a client token, by result: issued, or why none was.", "result")
	for _, result := range exchange.Results() {
		m.exchanges.WithLabelValues(result) // zero counts, too
	}
	m.reloads = counter("agentproxy_reloads_total",
		"Configuration reloads that changed something, by result: ok or refused.", "result")
	m.reloads.WithLabelValues("ok")
	m.reloads.WithLabelValues("refused")
	m.reloaded = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "agentproxy_config_last_reload_successful", Help: "1 if the last configuration reload succeeded, 0 if it was rejected.",
	})
	m.reloaded.Set(1)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "agentproxy_build_info", Help: "Always 1. The labels say what the program was built from.",
		ConstLabels: prometheus.Labels{"version": cli.Version(), "commit": cli.Commit(), "goversion": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(m.reloaded, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Exchange implements [app.Observer].
func (m *Metrics) Exchange(o proxy.Outcome) {
	host := cmp.Or(o.Pattern, otherHostsLabel)
	m.latest.Add(&o)
	m.counted.Add(&o)
	if o.Refused != "" {
		m.refusals.WithLabelValues(o.Refused).Inc()
		m.refused.Exchange(o)
	}
	if out := o.OutOfScope; out != nil {
		m.misses.WithLabelValues(host, string(out.Reason), missAction(out.Sent)).Inc()
		m.missed.add(missOf(o))
	}
	if o.Failure != "" {
		m.cut.WithLabelValues(o.Kind, cmp.Or(o.CutBy, "unknown")).Inc()
	}
	switch o.Kind {
	case proxy.KindConnection:
		return
	case proxy.KindTunnel, proxy.KindConnect:
		m.connects.WithLabelValues(host, codeLabel(o.Status)).Inc()
		return
	}
	by := cmp.Or(o.Signer, config.UseNone)
	if o.Kind == proxy.KindAsk {
		m.asks.WithLabelValues(host, by, codeLabel(o.Status)).Inc()
		return
	}
	s := m.seriesOf(requestLabels{host, by, codeLabel(o.Status)})
	s.requests.Inc()
	if o.Resent {
		m.resent.WithLabelValues(by).Inc()
	}
	if o.Refused != "" {
		return // nobody waited for a server
	}
	if o.Status != 0 {
		s.firstByte.Observe(o.FirstByte.Seconds())
	}
	s.duration.Observe(o.Duration.Seconds())
}

// missAction returns what was done with a request that was out of scope.
func missAction(sent bool) string {
	if sent {
		return "sent"
	}
	return "refused"
}

type requestLabels struct{ host, signer, code string }

// requestSeries holds the metrics of a request. Looking them up by their labels is most of
// the work, so it is done once.
type requestSeries struct {
	requests            prometheus.Counter
	firstByte, duration prometheus.Observer
}

func (m *Metrics) seriesOf(l requestLabels) *requestSeries {
	m.mu.RLock()
	s := m.series[l]
	m.mu.RUnlock()
	if s != nil {
		return s
	}
	s = &requestSeries{
		m.requests.WithLabelValues(l.host, l.signer, l.code),
		m.firstByte.WithLabelValues(l.host), m.duration.WithLabelValues(l.host),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.series[l] = s // another goroutine may have stored the same
	return s
}

// Exchanged counts a workload's request for a client token.
func (m *Metrics) Exchanged(result string) { m.exchanges.WithLabelValues(result).Inc() }

// Reloaded implements [app.Observer]. Nothing has changed where a rejected change was undone.
func (m *Metrics) Reloaded(changed bool, err error) {
	m.reloaded.Set(boolValue(err == nil))
	switch {
	case err != nil:
		m.reloads.WithLabelValues("refused").Inc()
	case changed:
		m.reloads.WithLabelValues("ok").Inc()
	}
}

// Usage implements [app.Observer].
func (m *Metrics) Usage(e usage.Entry) {
	m.responses.WithLabelValues(e.Profile).Inc()
	m.tokens.WithLabelValues(e.Profile, "input").Add(float64(e.Input))
	m.tokens.WithLabelValues(e.Profile, "cached").Add(float64(e.Cached))
	m.tokens.WithLabelValues(e.Profile, "output").Add(float64(e.Output))
}

// Quota implements [app.Observer].
func (m *Metrics) Quota(profile string, q usage.Quota) { m.quotas.set(profile, q) }

// Backend implements [app.Observer].
func (m *Metrics) Backend(o backend.Operation, r backend.Result) {
	m.backend.WithLabelValues(string(o), string(r)).Inc()
}

// codeNames are the statuses that have a label of their own.
var codeNames = map[int]string{
	101: "101", 200: "200", 400: "400", 401: "401", 403: "403", 404: "404", 407: "407", 408: "408",
	421: "421", 429: "429", 431: "431", 500: "500", 502: "502", 503: "503", 504: "504",
}

// codeLabel returns the label of a status, of which there are few: a status of codeNames
// itself, or else its class. "none" is no response.
func codeLabel(status int) string {
	if name, ok := codeNames[status]; ok {
		return name
	}
	classes := [...]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}
	if class := status / 100; class > 0 && class < len(classes) {
		return classes[class]
	}
	return classes[0]
}
