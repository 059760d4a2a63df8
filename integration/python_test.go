//go:build linux

package integration

import "testing"

func TestPython(t *testing.T) {
	t.Parallel()
	python := script{systemProgram(t, "python3"), "urllib_client.py"}
	p := serveUsual(t)
	t.Run("GET", func(t *testing.T) { python.testGet(t, p, "get") })
	t.Run("POST", func(t *testing.T) { python.testPost(t, p) })
	t.Run("stream", func(t *testing.T) { python.testStream(t, p) })
}
