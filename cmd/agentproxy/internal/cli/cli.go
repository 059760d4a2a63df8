// Package cli holds what every command shares: exit codes and the errors that end
// the program with them, the environment, the terminal and the version.
package cli
