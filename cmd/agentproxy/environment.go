package main

import (
	"errors"
	"io/fs"
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

// causeOf drops the path that the file errors of package os begin with, where
// the message names it anyway.
func causeOf(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
