package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"
)

// Changed returns the keys in which two configurations differ. It leaves out their values,
// which may be secrets.
func Changed(a, b *Config) []string {
	return changedFields("", reflect.ValueOf(*a.file), reflect.ValueOf(*b.file))
}

func changedFields(prefix string, a, b reflect.Value) (keys []string) {
	for i := range a.NumField() {
		field := a.Type().Field(i)
		name, option, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		x, y := a.Field(i), b.Field(i)
		switch {
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

// fixedKeys cannot change while the proxy runs: listeners are open, and servers were
// given their limits.
var fixedKeys = []string{
	"listen", "admin", "authz.listen", "exchange.listen", "state_dir", "limits.header_bytes", "limits.handshake_timeout", "limits.idle_timeout", "limits.ping_after",
}

// CheckReload returns an error if next cannot follow c while the proxy runs.
func (c *Config) CheckReload(next *Config) error {
	for _, key := range Changed(c, next) {
		if slices.Contains(fixedKeys, key) {
			return next.Wrong(key, errors.New("it cannot change while the proxy runs; put back what was there, or restart the proxy"))
		}
	}
	return nil
}
