package app

import "github.com/agentproxy/agentproxy/authz"

// GatewayConfig returns the configuration in force of the endpoint for gateways.
func (r *Reloader) GatewayConfig() authz.Config {
	a, done := r.Use()
	defer done()
	return authz.Config{
		Authorize:   r.proxy.Authorize,
		Token:       a.Gateways.Token,
		Users:       a.Gateways.Users,
		LabelHeader: a.Config.LabelHeader,
		Refused:     r.proxy.NoteRefusal,
	}
}
