//go:build !unix

package app

// makePrivate leaves it to the directory who may open the socket.
func makePrivate(uintptr) {}
