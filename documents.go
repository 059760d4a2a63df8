// Package agentproxy holds the documents of this repository that the program shows.
package agentproxy

import _ "embed"

//go:embed config.example.yaml
var exampleConfig string

//go:embed docs/troubleshooting.md
var troubleshooting string

// ExampleConfig returns config.example.yaml.
func ExampleConfig() string { return exampleConfig }

// Troubleshooting returns docs/troubleshooting.md.
func Troubleshooting() string { return troubleshooting }
