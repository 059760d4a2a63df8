// Package ext takes the place of a directory of Traefik's that is not in its module: it
// has a go.mod of its own, which no registry has.
package ext

// HTTP has no extension of a configuration's http part.
type HTTP struct{}

// Router has no extension of a router.
type Router struct{}
