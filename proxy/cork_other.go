//go:build !linux

package proxy

func corkSocket(uintptr, bool) {}
