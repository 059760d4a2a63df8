package main

import (
	"os"
)

// environment is what the program knows of its surroundings.
type environment struct {
	lookup  func(string) (string, bool)
	environ func() []string
}

func osEnvironment() environment {
	return environment{lookup: os.LookupEnv, environ: os.Environ}
}

func (e environment) get(name string) string {
	value, _ := e.lookup(name)
	return value
}

// first returns the value of the first of names that is set to one.
func (e environment) first(names ...string) string {
	for _, name := range names {
		if value := e.get(name); value != "" {
			return value
		}
	}
	return ""
}
