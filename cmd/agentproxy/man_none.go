//go:build !man

package main

import "github.com/spf13/cobra"

// manCommands has nothing in the program that is released.
func manCommands() []*cobra.Command { return nil }
