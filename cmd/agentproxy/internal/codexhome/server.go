package codexhome

// Server is a server that Codex has left in the background: programs that use
// the same home have it send their requests, with the environment that it was
// started in.
type Server struct {
	PID   int
	Proxy string // its HTTPS_PROXY, "" for none
}

// StopServer is the command that ends it.
const StopServer = "codex app-server daemon stop"
