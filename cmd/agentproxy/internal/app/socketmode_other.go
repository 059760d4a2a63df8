//go:build !unix

package app

// makePrivate does nothing: the mode of the directory protects the socket.
func makePrivate(uintptr) {}
