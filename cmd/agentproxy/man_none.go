//go:build !man

package main

import "github.com/spf13/cobra"

// manCommands returns nothing: the program that is released has no such commands.
func manCommands() []*cobra.Command { return nil }
