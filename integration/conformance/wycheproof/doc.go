// Package wycheproof has the vectors of Project Wycheproof try what package
// identity does with Ed25519 and X25519.
package wycheproof
