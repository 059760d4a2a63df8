package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/signer"
)

// samples returns the counters and histogram counts of m that are not zero, as
// name{label="value",…} value.
func samples(t *testing.T, gatherer prometheus.Gatherer) (list []string) {
	t.Helper()
	families, err := gatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "agentproxy_") || family.GetName() == "agentproxy_build_info" {
			continue
		}
		for _, metric := range family.GetMetric() {
			value := metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			if value == 0 {
				continue
			}
			labels := make([]string, 0, len(metric.GetLabel()))
			for _, l := range metric.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			list = append(list, fmt.Sprintf("%s{%s} %v", family.GetName(), strings.Join(labels, ","), value))
		}
	}
	return list
}

func TestObserve(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	for _, o := range []proxy.Outcome{
		{Kind: proxy.KindRequest, Host: "a.chatgpt.com:443", Client: "build-42", Pattern: "*.chatgpt.com", Status: 200, Signer: "bearer", Resent: true},
		{Kind: proxy.KindRequest, Host: "b.chatgpt.com:443", Pattern: "*.chatgpt.com", Status: 299, Signer: "bearer"},
		{Kind: proxy.KindRequest, Host: "chatgpt.com:443", Pattern: "chatgpt.com", Failure: "cancelled", CutBy: "client"},
		{Kind: proxy.KindPlain, Host: "other.example:80", Status: 999},
		{Kind: proxy.KindRequest, Host: "chatgpt.com:443", Pattern: "chatgpt.com", Status: 503, Refused: "no_login"},
		{Kind: proxy.KindTunnel, Host: "other.example:443", Status: 403, Refused: "host_refused", Reason: "other.example…"},
		{Kind: proxy.KindConnect, Host: "chatgpt.com:443", Pattern: "chatgpt.com", Status: 200},
		{Kind: proxy.KindConnection, Status: 503, Refused: "too_many_connections"},
	} {
		m.Exchange(o)
	}
	want := []string{
		`agentproxy_connects_total{code="200",host="chatgpt.com"} 1`,
		`agentproxy_connects_total{code="403",host="other"} 1`,
		`agentproxy_exchanges_cut_total{by="client",kind="request"} 1`,
		`agentproxy_refusals_total{code="host_refused"} 1`,
		`agentproxy_refusals_total{code="no_login"} 1`,
		`agentproxy_refusals_total{code="too_many_connections"} 1`,
		`agentproxy_request_duration_seconds{host="*.chatgpt.com"} 2`,
		`agentproxy_request_duration_seconds{host="chatgpt.com"} 1`,
		`agentproxy_request_duration_seconds{host="other"} 1`,
		`agentproxy_requests_total{code="200",host="*.chatgpt.com",signer="bearer"} 1`,
		`agentproxy_requests_total{code="2xx",host="*.chatgpt.com",signer="bearer"} 1`,
		`agentproxy_requests_total{code="503",host="chatgpt.com",signer="none"} 1`,
		`agentproxy_requests_total{code="none",host="chatgpt.com",signer="none"} 1`,
		`agentproxy_requests_total{code="none",host="other",signer="none"} 1`,
		`agentproxy_resent_requests_total{signer="bearer"} 1`,
		`agentproxy_time_to_first_byte_seconds{host="*.chatgpt.com"} 2`,
		`agentproxy_time_to_first_byte_seconds{host="other"} 1`,
	}
	if diff := cmp.Diff(want, samples(t, m.registry)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCodesAreBounded has every status that a server can send, and some that it
// cannot.
func TestCodesAreBounded(t *testing.T) {
	t.Parallel()
	var codes []string
	for status := -1; status < 70000; status++ {
		codes = append(codes, codeLabel(status))
	}
	slices.Sort(codes)
	if codes = slices.Compact(codes); len(codes) != 21 {
		t.Errorf("%d codes: %q", len(codes), codes)
	}
}

// failing is a signer that cannot.
type failing struct {
	signer.Renewer
	err error
}

func (f failing) Sign(context.Context, signer.Request) (*signer.Authorization, error) {
	return nil, f.err
}

func TestSigningsAreCounted(t *testing.T) {
	t.Parallel()
	m := NewMetrics()
	token := signer.NewTokenFromEnv("TOKEN", func(string) (string, bool) { return "abc", true }, nil)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ask := range []struct {
		name string
		next signer.Renewer
		ctx  context.Context
	}{
		{config.UseToken, token, t.Context()},
		{config.UseBearer, failing{err: signer.Errorf(signer.NoLogin, "nobody")}, t.Context()},
		{config.UseBearer, failing{err: errors.New("odd")}, t.Context()},
		{config.UseCommand, failing{err: signer.Errorf(signer.CommandFailed, "gone")}, ended},
	} {
		s := m.Signer(ask.name, ask.next)
		auth, err := s.Sign(ask.ctx, signer.Request{})
		if (auth == nil) == (err == nil) {
			t.Errorf("%s: neither an answer nor an error", ask.name)
		}
	}
	want := []string{
		`agentproxy_signings_total{code="canceled",signer="command"} 1`,
		`agentproxy_signings_total{code="no_login",signer="bearer"} 1`,
		`agentproxy_signings_total{code="ok",signer="token"} 1`,
		`agentproxy_signings_total{code="signing_failed",signer="bearer"} 1`,
	}
	if diff := cmp.Diff(want, samples(t, m.registry)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func BenchmarkObserve(b *testing.B) {
	m := NewMetrics()
	o := proxy.Outcome{
		Kind: proxy.KindRequest, Host: "chatgpt.com:443", Pattern: "chatgpt.com", Status: 200, Signer: "bearer",
		FirstByte: time.Millisecond, Duration: time.Second,
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Exchange(o)
	}
}
