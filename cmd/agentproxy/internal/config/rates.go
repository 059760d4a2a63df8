package config

import (
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/access/ratelimit"
)

// labelLimitsKeys are the limits of certain labels. What is left out is as for others.
type labelLimitsKeys struct {
	Labels            []string `yaml:"labels" doc:"The session labels that these limits are for. * stands for any text." required:"true"`
	RequestsPerMinute *int     `yaml:"requests_per_minute" min:"0"`
	Streams           *int     `yaml:"streams" min:"0"`
}

// rateKeys are what clients of a profile, or those without one, may ask for.
type rateKeys struct {
	perLabel, total ratelimit.Limits
	forLabels       []labelLimitsKeys
}

func (l limitsKeys) rates() rateKeys {
	return rateKeys{
		perLabel:  ratelimit.Limits{RequestsPerMinute: l.RequestsPerMinute, Streams: l.Streams},
		total:     ratelimit.Limits{RequestsPerMinute: l.TotalRequestsPerMinute, Streams: l.TotalStreams},
		forLabels: l.ForLabels,
	}
}

// with returns the keys with those of a profile in their place.
func (k rateKeys) with(p profileLimitsKeys) rateKeys {
	replace(&k.perLabel.RequestsPerMinute, p.RequestsPerMinute)
	replace(&k.perLabel.Streams, p.Streams)
	replace(&k.total.RequestsPerMinute, p.TotalRequestsPerMinute)
	replace(&k.total.Streams, p.TotalStreams)
	return k
}

// replace sets to the value of a key, unless it was left out.
func replace(to, value *int) {
	if value != nil {
		*to = *value
	}
}

// check makes rules of the keys.
func (k rateKeys) check() (ratelimit.Rules, error) {
	var m mistakes
	rules := ratelimit.Rules{PerLabel: k.perLabel, Total: k.total}
	key, inherited := k.perLabel.Validate()
	m.add(at("limits."+key, inherited))
	key, err := k.total.Validate()
	m.add(at("limits.total_"+key, err))
	for i, keys := range k.forLabels {
		key := element("limits.for_labels", i)
		if len(keys.Labels) == 0 {
			m.wrong(key+".labels", `it is for no client; list labels, as in ["build-*"]`)
		}
		if keys.RequestsPerMinute == nil && keys.Streams == nil {
			m.wrong(key, "it has no limit; give requests_per_minute or streams, or leave it out")
		}
		rule := ratelimit.LabelRule{Limits: k.perLabel}
		for n, s := range keys.Labels {
			pattern, err := access.ParseLabelPattern(s)
			m.add(at(element(key+".labels", n), err))
			rule.Labels = append(rule.Labels, pattern)
		}
		replace(&rule.RequestsPerMinute, keys.RequestsPerMinute)
		replace(&rule.Streams, keys.Streams)
		if inherited == nil {
			name, err := rule.Validate()
			m.add(at(key+"."+name, err))
		}
		rules.Labels = append(rules.Labels, rule)
	}
	return rules, m.err()
}
