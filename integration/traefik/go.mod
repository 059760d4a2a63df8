module github.com/agentproxy/agentproxy/integration/traefik

go 1.26.8

toolchain go1.26.10

require github.com/traefik/traefik/v3 v3.7.13

// Not to be had: the directory has a go.mod of its own, and is in no module.
replace github.com/traefik/traefik/dynamic/ext => ./stubs/ext

// Not to be had: Traefik's own fork, which it replaces this with.
replace github.com/abbot/go-http-auth => ./stubs/httpauth

// As Traefik's own go.mod has it.
replace github.com/gorilla/mux => github.com/containous/mux v0.0.0-20250523120546-41b6ec3aed59

// A copy without its DNS providers, some of which need modules that are not to be
// had; build.sh makes it.
replace github.com/go-acme/lego/v5 => ./lego

// As Traefik's own go.mod has it.
exclude github.com/tencentcloud/tencentcloud-sdk-go v3.0.83+incompatible
