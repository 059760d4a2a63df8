package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// Key is a key of the configuration file.
type Key struct {
	Path  string // such as "signer.rules[].host"
	Field reflect.StructField
	index []int // of the field in File, or in what a list holds
}

// holdsKeys reports whether the value of a key of that type is keys.
func holdsKeys(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != reflect.TypeFor[otherHosts]()
}

// Keys returns the keys of a configuration file, in the order of [File], those that hold
// others included.
func Keys() []Key { return keysOf("", nil, reflect.TypeFor[File]()) }

// keysOfFile returns the keys outside of lists.
func keysOfFile() []Key {
	return slices.DeleteFunc(Keys(), func(k Key) bool { return strings.Contains(k.Path, "[]") })
}

func keysOf(prefix string, above []int, t reflect.Type) (keys []Key) {
	for field := range t.Fields() {
		name, option, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		index := slices.Concat(above, field.Index)
		switch {
		case option == "inline":
			keys = append(keys, keysOf(prefix, index, field.Type)...)
		case !field.IsExported() || name == "-":
		default:
			path := prefix + name
			keys = append(keys, Key{path, field, index})
			below, suffix := field.Type, "."
			for below.Kind() == reflect.Pointer || below.Kind() == reflect.Slice {
				if below.Kind() == reflect.Slice {
					suffix = "[]."
				}
				below = below.Elem()
			}
			if holdsKeys(below) {
				keys = append(keys, keysOf(path+suffix, index, below)...)
			}
		}
	}
	return keys
}

// suggest returns the key that may be meant by one that does not exist, "" if none is like
// it: one in the same place, or the only one of that name elsewhere.
func suggest(key string) string {
	plain, numbers := unnumbered(key)
	cut := strings.LastIndex(plain, ".") + 1
	section, name := plain[:cut], plain[cut:]
	var beside, elsewhere []string
	for _, k := range Keys() {
		rest, ok := strings.CutPrefix(k.Path, section)
		if ok && !strings.Contains(rest, ".") {
			beside = append(beside, rest)
		}
		if strings.HasSuffix(k.Path, "."+name) && !strings.Contains(k.Path, "[]") || k.Path == name {
			elsewhere = append(elsewhere, k.Path)
		}
	}
	if meant := cli.Closest(name, beside); meant != "" {
		return numbered(section+meant, numbers)
	}
	if len(elsewhere) == 1 {
		return elsewhere[0]
	}
	return ""
}

// unnumbered returns a key without the numbers of elements of lists, and these.
func unnumbered(key string) (plain string, numbers []string) {
	for {
		before, rest, ok := strings.Cut(key, "[")
		plain += before
		if !ok {
			return plain, numbers
		}
		number, after, _ := strings.Cut(rest, "]")
		numbers = append(numbers, number)
		plain, key = plain+"[]", after
	}
}

// numbered is the reverse of unnumbered.
func numbered(plain string, numbers []string) string {
	for _, n := range numbers {
		plain = strings.Replace(plain, "[]", "["+n+"]", 1)
	}
	return plain
}
