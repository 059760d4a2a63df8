package config

import (
	"errors"
	"reflect"
	"slices"
)

// Changed returns the keys in which two configurations differ. It leaves out their values,
// which may be secrets.
func Changed(a, b *Config) (keys []string) {
	x, y := reflect.ValueOf(*a.file), reflect.ValueOf(*b.file)
	for _, k := range keysOfFile() {
		if !holdsKeys(k.Field.Type) && !reflect.DeepEqual(x.FieldByIndex(k.index).Interface(), y.FieldByIndex(k.index).Interface()) {
			keys = append(keys, k.Path)
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
