package main

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// changedKeys returns the keys in which two configurations differ, without their
// values, which may be secrets.
func changedKeys(a, b *config) []string {
	return changedFields("", reflect.ValueOf(*a), reflect.ValueOf(*b))
}

func changedFields(prefix string, a, b reflect.Value) (keys []string) {
	for i := range a.NumField() {
		field := a.Type().Field(i)
		name, option, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		x, y := a.Field(i), b.Field(i)
		switch {
		case !field.IsExported():
		case option == "inline":
			keys = append(keys, changedFields(prefix, x, y)...)
		case field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[otherHosts]():
			keys = append(keys, changedFields(prefix+name+".", x, y)...)
		case !reflect.DeepEqual(x.Interface(), y.Interface()):
			keys = append(keys, prefix+name)
		}
	}
	return keys
}

// fixedKeys cannot change while the proxy runs: listeners are open, and servers
// were told their limits.
var fixedKeys = []string{
	"listen", "admin", "authz.listen", "state_dir", "limits.header_bytes", "limits.handshake_timeout", "limits.idle_timeout",
}

// checkFixed refuses a configuration in the place of c that changes what cannot
// change.
func (c *config) checkFixed(next *config) error {
	for _, key := range changedKeys(c, next) {
		if slices.Contains(fixedKeys, key) {
			return next.source.errorAt(key, errors.New("it cannot change while the proxy runs; put back what was there, or restart the proxy"))
		}
	}
	return nil
}

// changedFiles returns the files besides the configuration itself that held
// something else at an earlier reading.
func (c *config) changedFiles(earlier, now seenFiles) (paths []string) {
	for _, path := range slices.Sorted(maps.Keys(now)) {
		if before, ok := earlier[path]; path != c.source.name && ok && before != now[path] {
			paths = append(paths, path)
		}
	}
	return paths
}
