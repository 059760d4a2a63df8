package cli

import "os"

// Environment gives access to environment variables, and to flags that override keys of the
// configuration as variables do.
type Environment struct {
	Lookup  func(string) (string, bool) // as os.LookupEnv
	Environ func() []string             // as os.Environ
	Flags   map[string]string           // what flags of the command line say, by key
}

// OSEnvironment returns the environment of the process.
func OSEnvironment() Environment {
	return Environment{Lookup: os.LookupEnv, Environ: os.Environ}
}

// Get returns the value of a variable, "" if it is not set.
func (e Environment) Get(name string) string {
	value, _ := e.Lookup(name)
	return value
}

// First returns the first value that is not empty among the variables' values.
func (e Environment) First(names ...string) string {
	for _, name := range names {
		if value := e.Get(name); value != "" {
			return value
		}
	}
	return ""
}
