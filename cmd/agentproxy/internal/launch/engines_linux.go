package launch

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// EngineSockets returns the sockets of container engines that this user may use. An engine
// reads any file for its users.
func EngineSockets(getenv func(string) string) (usable []string) {
	paths := []string{"/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock"}
	if runtime := getenv("XDG_RUNTIME_DIR"); runtime != "" {
		paths = append(paths, filepath.Join(runtime, "docker.sock"), filepath.Join(runtime, "podman", "podman.sock"))
	}
	if path, ok := strings.CutPrefix(getenv("DOCKER_HOST"), "unix://"); ok {
		paths = append(paths, path)
	}
	for _, path := range paths {
		if unix.Access(path, unix.R_OK|unix.W_OK) == nil {
			usable = append(usable, path)
		}
	}
	return usable
}
