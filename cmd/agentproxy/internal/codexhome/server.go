package codexhome

// Server is a server that Codex has left in the background. It sends the requests of all
// Codex programs with its home, with the environment that it was started with.
type Server struct {
	PID   int
	Proxy string // its HTTPS_PROXY, "" for none
}

// StopServer is the command that ends a [Server].
const StopServer = "codex app-server daemon stop"
