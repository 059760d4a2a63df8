package admin

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// stateCollector reads the proxy's state at each scrape, which costs no request
// anything.
type stateCollector struct {
	look func(context.Context) Status
}

var _ prometheus.Collector = (*stateCollector)(nil)

var (
	readyDesc = prometheus.NewDesc("agentproxy_ready",
		"1 if requests can be signed as far as the proxy knows, else 0.", []string{"profile"}, nil)
	runningDesc = prometheus.NewDesc("agentproxy_exchanges_in_flight",
		"Requests, WebSockets and tunnels in flight.", []string{"kind"}, nil)
	receivedDesc = prometheus.NewDesc("agentproxy_received_bytes_total",
		"Bytes of bodies, WebSockets and tunnels received from clients.", []string{"kind"}, nil)
	sentDesc = prometheus.NewDesc("agentproxy_sent_bytes_total",
		"Bytes of bodies, WebSockets and tunnels sent to clients.", []string{"kind"}, nil)
	tokenExpiryDesc = prometheus.NewDesc("agentproxy_token_expiry_timestamp_seconds",
		"When the log-in's access token expires. Absent if there is no token or no expiry in it.", []string{"profile"}, nil)
	loginEndedDesc = prometheus.NewDesc("agentproxy_login_ended",
		"1 if somebody has to log in again because the log-in cannot be refreshed, else 0.", []string{"profile"}, nil)
	quotaUsedDesc = prometheus.NewDesc("agentproxy_quota_used_ratio",
		"How much of the account's allowance at ChatGPT is used up, 1 being all of it, by window: primary or secondary. Absent until a response has said so.", []string{"profile", "window"}, nil)
	quotaResetDesc = prometheus.NewDesc("agentproxy_quota_reset_timestamp_seconds",
		"When the account's allowance at ChatGPT is whole again, by window.", []string{"profile", "window"}, nil)
	usageLostDesc = prometheus.NewDesc("agentproxy_usage_lines_lost_total",
		"Lines that could not be written to the usage file.", nil, nil)
	caExpiryDesc = prometheus.NewDesc("agentproxy_ca_expiry_timestamp_seconds",
		"When the certificate authority expires.", nil, nil)
	clockDesc = prometheus.NewDesc("agentproxy_clock_offset_seconds",
		"How far the backend's clock is ahead of this machine's. 0 if the difference does not matter.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (c *stateCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		readyDesc, runningDesc, receivedDesc, sentDesc, tokenExpiryDesc, loginEndedDesc, quotaUsedDesc, quotaResetDesc, usageLostDesc, caExpiryDesc, clockDesc,
	} {
		descs <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *stateCollector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value int64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	s := c.look(context.Background()) // the library has no context to give
	for _, agent := range s.Agents {
		gauge(readyDesc, boolValue(agent.Ready), agent.Profile)
		gauge(loginEndedDesc, boolValue(agent.LoginEnded != ""), agent.Profile)
		if agent.TokenExpires != nil {
			gauge(tokenExpiryDesc, float64(agent.TokenExpires.Unix()), agent.Profile)
		}
		for name, window := range agent.Quota.windows() {
			gauge(quotaUsedDesc, window.UsedPercent/100, agent.Profile, name)
			if window.ResetAt != nil {
				gauge(quotaResetDesc, float64(window.ResetAt.Unix()), agent.Profile, name)
			}
		}
	}
	for kind, n := range s.InFlight {
		gauge(runningDesc, float64(n), kind)
	}
	for kind, bytes := range s.Bytes {
		counter(receivedDesc, bytes.Received, kind)
		counter(sentDesc, bytes.Sent, kind)
	}
	counter(usageLostDesc, int64(s.UsageLost))
	gauge(caExpiryDesc, float64(s.CAExpires.Unix()))
	gauge(clockDesc, s.ClockOffset)
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
